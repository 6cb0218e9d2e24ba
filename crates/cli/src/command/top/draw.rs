//! How the dashboard looks. Narrow terminals have groups over services, or topics once they are chosen; from
//! [`WIDE`] columns on all three stand beside each other. Without colours bold and reversed text say what they would.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar::NINE_LEVELS;
use ratatui::text::{Line, Span};
use ratatui::widgets::{
    Block, Borders, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap,
};

use super::board::{Board, Severity};
use super::screen::{List, Over, Screen};

const WIDE: u16 = 120;
/// Looks that the column of a trend shows.
const TREND: usize = 12;

/// What stands above: what is looked at, and how often.
pub(super) struct About<'a> {
    pub(super) kafka: &'a str,
    pub(super) every_seconds: u64,
    pub(super) colours: bool,
}

impl About<'_> {
    fn colour(&self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn bad(&self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn warn(&self) -> Style {
        self.colour(Color::Yellow)
    }

    fn dim(&self) -> Style {
        if self.colours { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn chosen(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, board: &Board, screen: &Screen, about: &About<'_>) {
    let area = frame.area();
    let shown = board.problems.len() + usize::from(board.trouble.is_some());
    let most = usize::from(area.height / 4).clamp(2, 10);
    let problems = u16::try_from(shown.clamp(1, most)).unwrap_or(1) + 1;
    let chart = if area.height >= 40 { 9 } else { 5 };
    let parts = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(problems),
        Constraint::Length(chart),
        Constraint::Min(4),
        Constraint::Length(1),
    ]);
    let [head, wrong, rate, lists, foot] = parts.areas(area);
    heading(frame, head, board, screen, about);
    wrongs(frame, wrong, board, about);
    throughput(frame, rate, board, about);
    if area.width >= WIDE {
        let thirds = [Constraint::Fill(5), Constraint::Fill(6), Constraint::Fill(4)];
        let [a, b, c] = Layout::horizontal(thirds).spacing(1).areas(lists);
        groups(frame, a, board, screen, about);
        services(frame, b, board, screen, about);
        topics(frame, c, board, screen, about);
    } else {
        let [a, b] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(lists);
        groups(frame, a, board, screen, about);
        match screen.list {
            List::Topics => topics(frame, b, board, screen, about),
            List::Groups | List::Services => services(frame, b, board, screen, about),
        }
    }
    footer(frame, foot, screen, about);
    match screen.over {
        Over::Nothing => {}
        Over::Help => over(frame, " Keys ", help()),
        Over::Details => over(frame, " Details ", details(board, screen)),
    }
}

fn heading(frame: &mut Frame<'_>, area: Rect, board: &Board, screen: &Screen, about: &About<'_>) {
    let behind: i64 = board.groups.iter().map(|group| group.lag).sum();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![
        Span::styled("tidings top ", bold),
        Span::raw(about.kafka.to_owned()),
        Span::styled(format!("  every {} s", about.every_seconds), about.dim()),
    ];
    if screen.paused {
        spans.push(Span::styled("  PAUSED", about.warn().add_modifier(Modifier::BOLD)));
    }
    frame.render_widget(Line::from(spans), area);
    let sums = format!(
        "{} · {} · {} behind",
        count(board.topics.iter().filter(|topic| !topic.internal).count(), "topic"),
        count(board.groups.len(), "group"),
        whole(behind),
    );
    let left = 14 + about.kafka.len() + 24;
    if usize::from(area.width) > left + sums.chars().count() {
        frame.render_widget(Line::from(sums).alignment(Alignment::Right), area);
    }
}

fn wrongs(frame: &mut Frame<'_>, area: Rect, board: &Board, about: &About<'_>) {
    let mut lines: Vec<Line<'_>> = Vec::new();
    if let Some(trouble) = &board.trouble {
        let text = format!("● No answer, what is shown is older: {trouble}");
        lines.push(Line::styled(text, about.bad()));
    }
    lines.extend(board.problems.iter().map(|problem| {
        let (mark, style) = match problem.severity {
            Severity::Bad => ("●", about.bad()),
            Severity::Warn => ("○", about.warn()),
        };
        Line::styled(format!("{mark} {}", problem.what), style)
    }));
    let room = usize::from(area.height.saturating_sub(1));
    let title = match lines.len() {
        0 => " What is wrong ".to_owned(),
        count if count > room => format!(" What is wrong: {count}, the worst of them "),
        count => format!(" What is wrong: {count} "),
    };
    if lines.is_empty() {
        let text = if board.at_ms == 0 { "looking …" } else { "Nothing is wrong." };
        lines.push(Line::styled(text, about.colour(Color::Green)));
    }
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn throughput(frame: &mut Frame<'_>, area: Rect, board: &Board, about: &About<'_>) {
    let now = board.throughput.back().copied();
    let most = board.throughput.iter().copied().fold(0.0, f64::max);
    let title = match now {
        None => " Records a second ".to_owned(),
        Some(now) => format!(" Records a second: {} now, {} at most ", rate(now), rate(most)),
    };
    let room = usize::from(area.width);
    let skipped = board.throughput.len().saturating_sub(room);
    let newest = board.throughput.iter().skip(skipped);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let values = newest.map(|rate| (rate * 10.0) as u64);
    // The newest stands at the right edge.
    let mut data = vec![0; room.saturating_sub(board.throughput.len())];
    data.extend(values);
    let chart = Sparkline::default()
        .block(Block::new().borders(Borders::TOP).title(title))
        .style(about.colour(Color::Cyan))
        .data(&data);
    frame.render_widget(chart, area);
}

/// The frame of a list.
fn block(
    name: &str,
    shown: usize,
    screen: &Screen,
    list: List,
    about: &About<'_>,
) -> Block<'static> {
    let title = format!(" {name} {shown} · by {} ", screen.sort(list));
    let style =
        if screen.list == list { Style::new().add_modifier(Modifier::BOLD) } else { about.dim() };
    Block::new().borders(Borders::TOP).title(Span::styled(title, style))
}

fn list(
    frame: &mut Frame<'_>,
    area: Rect,
    (rows, widths, head): (Vec<Row<'_>>, Vec<Constraint>, Vec<Cell<'static>>),
    block: Block<'_>,
    (selected, chosen): (Option<usize>, Style),
) {
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    let table = Table::new(rows, widths)
        .header(head)
        .block(block)
        .column_spacing(1)
        .row_highlight_style(chosen);
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn right(text: impl Into<String>) -> Cell<'static> {
    Cell::new(Line::from(text.into()).alignment(Alignment::Right))
}

/// Only the list that keys move in has a chosen row.
fn selected(board: &Board, screen: &Screen, of: List, about: &About<'_>) -> (Option<usize>, Style) {
    let row = screen.row(of, board).filter(|_| screen.list == of);
    (row, about.chosen())
}

fn groups(frame: &mut Frame<'_>, area: Rect, board: &Board, screen: &Screen, about: &About<'_>) {
    let shown = screen.groups(board);
    let rows = shown.iter().map(|group| {
        let style = match group {
            group if group.stuck && group.members > 0 => about.bad(),
            group if group.lag > 0 && group.members == 0 => about.warn(),
            _ => Style::new(),
        };
        Row::new(vec![
            Cell::new(group.name.clone()),
            right(group.members.to_string()),
            right(whole(group.lag)),
            right(change(group.per_second)),
            Cell::new(bars(&group.trend)),
        ])
        .style(style)
    });
    let widths = vec![
        Constraint::Fill(1),
        Constraint::Length(3),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(TREND as u16),
    ];
    let head = vec!["GROUP".into(), right("MEM"), right("LAG"), right("/S"), "TREND".into()];
    let frame_of = block("Groups", shown.len(), screen, List::Groups, about);
    let chosen = selected(board, screen, List::Groups, about);
    list(frame, area, (rows.collect(), widths, head), frame_of, chosen);
}

fn services(frame: &mut Frame<'_>, area: Rect, board: &Board, screen: &Screen, about: &About<'_>) {
    let shown = screen.services(board);
    let rows = shown.iter().map(|service| {
        let (breaker, style) = match &service.outage {
            Some(_) => ("OPEN", about.bad()),
            None if service.dead_keys > 0 => ("closed", about.warn()),
            None => ("closed", Style::new()),
        };
        Row::new(vec![
            Cell::new(service.name.clone()),
            Cell::new(breaker),
            right(age(service.lag_seconds)),
            right(whole(i64::try_from(service.processed).unwrap_or(i64::MAX))),
            right(service.failed.to_string()),
            right(service.parked.to_string()),
            right(service.dead_keys.to_string()),
        ])
        .style(style)
    });
    let widths = vec![
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(6),
        Constraint::Length(10),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(4),
    ];
    let head = vec![
        "SERVICE".into(),
        "BREAKER".into(),
        right("AGE"),
        right("DONE"),
        right("FAILED"),
        right("PARKED"),
        right("DEAD"),
    ];
    let frame_of = block("Services", shown.len(), screen, List::Services, about);
    let chosen = selected(board, screen, List::Services, about);
    list(frame, area, (rows.collect(), widths, head), frame_of, chosen);
}

fn topics(frame: &mut Frame<'_>, area: Rect, board: &Board, screen: &Screen, about: &About<'_>) {
    let shown = screen.topics(board);
    let rows = shown.iter().map(|topic| {
        let style = if topic.internal { about.dim() } else { Style::new() };
        Row::new(vec![
            Cell::new(topic.name.clone()),
            right(whole(topic.records)),
            right(topic.per_second.map_or_else(|| "-".to_owned(), rate)),
        ])
        .style(style)
    });
    let widths = vec![Constraint::Fill(1), Constraint::Length(11), Constraint::Length(8)];
    let head = vec!["TOPIC".into(), right("RECORDS"), right("/S")];
    let frame_of = block("Topics", shown.len(), screen, List::Topics, about);
    let chosen = selected(board, screen, List::Topics, about);
    list(frame, area, (rows.collect(), widths, head), frame_of, chosen);
}

fn footer(frame: &mut Frame<'_>, area: Rect, screen: &Screen, about: &About<'_>) {
    let line = if screen.finding {
        Line::from(format!("/{}█", screen.filter))
    } else if !screen.filter.is_empty() {
        Line::from(format!("only names with “{}”; esc shows all", screen.filter))
    } else {
        let keys = "q quit  / find  s sort  tab next list  enter details  p pause  ? keys";
        Line::styled(keys, about.dim())
    };
    frame.render_widget(line, area);
}

fn help() -> Vec<Line<'static>> {
    let keys = [
        ("q, ctrl-c", "end"),
        ("tab", "the next list: groups, services, topics"),
        ("j k ↓ ↑", "choose a row"),
        ("enter", "details of the chosen row"),
        ("s", "sort the list by something else"),
        ("/", "only names with a text; esc shows all again"),
        ("p", "pause, and go on"),
        ("?", "this"),
        ("", ""),
        ("LAG", "records that a group has still to process"),
        ("/S", "how that changes in a second"),
        ("AGE", "of the oldest event that a service has not done"),
        ("PARKED", "events that are put aside: failed, and behind those"),
        ("DEAD", "keys that wait for a person: tidings dead list SERVICE"),
    ];
    keys.map(|(key, meaning)| Line::from(format!("{key:<10} {meaning}"))).to_vec()
}

fn details(board: &Board, screen: &Screen) -> Vec<Line<'static>> {
    let row = screen.row(screen.list, board).unwrap_or(0);
    let mut lines = Vec::new();
    let mut say = |text: String| lines.push(Line::from(text));
    match screen.list {
        List::Groups => {
            let Some(group) = screen.groups(board).get(row).copied() else { return lines };
            let members = count(group.members, "member");
            say(format!("Group {}: {}, {members}", group.name, group.state));
            say(format!(
                "{} records behind, {} a second",
                whole(group.lag),
                change(group.per_second)
            ));
            say(String::new());
            for (topic, lag) in &group.lags {
                say(format!("{:>11}  {topic}", whole(*lag)));
            }
            say(String::new());
            say(format!("tidings group describe {}", group.name));
        }
        List::Services => {
            let Some(service) = screen.services(board).get(row).copied() else { return lines };
            say(format!("Service {}: {}", service.name, count(service.instances, "instance")));
            if let Some(cause) = &service.outage {
                say(format!("It takes a dependency for down: {cause}"));
            }
            say(format!(
                "{} parked, {} dead keys, {} dead letters, the oldest event not done is {} old",
                service.parked,
                service.dead_keys,
                service.dead,
                age(service.lag_seconds),
            ));
            say(String::new());
            say(format!("{:>10} {:>8}  HANDLER", "DONE", "FAILED"));
            for (name, event, done, failed) in &service.handlers {
                say(format!("{done:>10} {failed:>8}  {name} ({event})"));
            }
            say(String::new());
            say(format!("tidings dead list {}", service.name));
        }
        List::Topics => {
            let Some(topic) = screen.topics(board).get(row).copied() else { return lines };
            say(format!("Topic {}: {}", topic.name, count(topic.partitions, "partition")));
            say(format!("{} records", whole(topic.records)));
            say(String::new());
            say(format!("tidings topic describe {}", topic.name));
        }
    }
    lines
}

fn count(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// A box over all else.
fn over(frame: &mut Frame<'_>, title: &'static str, lines: Vec<Line<'static>>) {
    let area = frame.area();
    let widest = lines.iter().map(Line::width).max().unwrap_or(0);
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).max(30).min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let folded: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let height = u16::try_from(folded + 2).unwrap_or(u16::MAX).min(area.height);
    let [_, row, _] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(height), Constraint::Fill(1)])
            .areas(area);
    let [_, place, _] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width), Constraint::Fill(1)])
            .areas(row);
    let block = Block::bordered().title(title).title_bottom(" esc closes ");
    let block = block.padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }).block(block), place);
}

/// The last lags, against the highest of them.
fn bars(trend: &[i64]) -> String {
    if trend.iter().all(|lag| *lag == 0) {
        return String::new();
    }
    let last = &trend[trend.len().saturating_sub(TREND)..];
    let most = last.iter().copied().max().unwrap_or(0).max(1);
    let levels = [
        NINE_LEVELS.one_eighth,
        NINE_LEVELS.one_quarter,
        NINE_LEVELS.three_eighths,
        NINE_LEVELS.half,
        NINE_LEVELS.five_eighths,
        NINE_LEVELS.three_quarters,
        NINE_LEVELS.seven_eighths,
        NINE_LEVELS.full,
    ];
    let level = |lag: &i64| {
        let at = usize::try_from(lag.max(&0) * 7 / most).unwrap_or(0);
        levels.get(at).copied().unwrap_or(NINE_LEVELS.full)
    };
    last.iter().map(level).collect()
}

fn change(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(rate) if rate.abs() < 0.05 => "0".to_owned(),
        Some(per_second) => {
            let sign = if per_second > 0.0 { "+" } else { "-" };
            format!("{sign}{}", rate(per_second.abs()))
        }
    }
}

fn rate(per_second: f64) -> String {
    if per_second < 9.95 {
        return format!("{per_second:.1}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    whole(per_second.round() as i64)
}

fn age(seconds: f64) -> String {
    match seconds {
        s if s < 0.05 => "0".to_owned(),
        s if s < 100.0 => format!("{s:.1}s"),
        s if s < 6_000.0 => format!("{:.0}m", s / 60.0),
        s if s < 360_000.0 => format!("{:.0}h", s / 3600.0),
        s => format!("{:.0}d", s / 86_400.0),
    }
}

/// `12,345`.
fn whole(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::super::board::tests::{report, sample};
    use super::*;

    fn board() -> Board {
        let mut board = Board::default();
        for n in 0..40_i64 {
            let groups = [("stuck", 2, 10), ("left", 0, 90), ("well", 1, 100 + n * 50)];
            board.take(sample(n * 1000, 100 + n * 50, &groups), &[report("i", 5, true)]);
        }
        board
    }

    fn drawn(width: u16, height: u16, board: &Board, keys: &[KeyCode]) -> String {
        let mut screen = Screen::default();
        for key in keys {
            let _asked = screen.key(KeyEvent::new(*key, KeyModifiers::NONE), board);
        }
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let about = About { kafka: "127.0.0.1:9092", every_seconds: 2, colours: true };
        terminal.draw(|frame| draw(frame, board, &screen, &about)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn what_matters_is_on_a_screen_of_any_size() {
        let board = board();
        for (width, height) in [(80, 24), (160, 50)] {
            let screen = drawn(width, height, &board, &[]);
            for part in [
                "What is wrong: 6",
                "Service payment takes a dependency for down: bank: 503",
                "Records a second: 50 now, 50 at most",
                "Groups 3 · by lag",
                "SERVICE",
                "OPEN",
                "q quit",
            ] {
                assert!(screen.contains(part), "{part} at {width}x{height}:\n{screen}");
            }
            assert_eq!(screen.contains("TOPIC"), width >= WIDE, "{screen}");
        }
        for (width, height) in [(1, 1), (20, 5), (40, 10), (300, 100)] {
            let _drawn = drawn(width, height, &board, &[KeyCode::Char('?')]);
            let _drawn = drawn(width, height, &board, &[KeyCode::Enter]);
        }
    }

    #[test]
    fn topics_take_the_place_of_services_where_there_is_no_room_for_both() {
        let screen = drawn(80, 24, &board(), &[KeyCode::Tab, KeyCode::Tab]);
        assert!(screen.contains("TOPIC") && !screen.contains("BREAKER"), "{screen}");
    }

    #[test]
    fn details_and_keys_lie_over_the_lists() {
        let screen = drawn(80, 24, &board(), &[KeyCode::Enter]);
        for part in ["Group stuck: Stable, 2 members", "tidings group describe stuck", "esc closes"]
        {
            assert!(screen.contains(part), "{part}:\n{screen}");
        }
        let screen = drawn(80, 24, &board(), &[KeyCode::Char('?')]);
        assert!(screen.contains("details of the chosen row"), "{screen}");
        let screen = drawn(80, 24, &board(), &[KeyCode::Tab, KeyCode::Enter]);
        assert!(screen.contains("charge (OrderPlaced)"), "{screen}");
    }

    #[test]
    fn numbers_are_short() {
        let shown =
            [whole(-1_234_567), rate(0.44), rate(1234.4), change(Some(-12.4)), age(7_200.0)];
        assert_eq!(shown, ["-1,234,567", "0.4", "1,234", "-12", "2h"]);
        assert_eq!(bars(&[0, 50, 100]), "▁▄█");
    }
}
