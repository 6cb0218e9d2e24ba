//! What is chosen on the dashboard, and what a key does to it. A value; [`super::draw`] shows it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::board::{Board, GroupRow, ServiceRow, TopicRow};
use crate::limits::TOP_FILTER_CHARS_MAX;

/// A list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum List {
    #[default]
    Groups,
    Services,
    Topics,
}

impl List {
    const ALL: [Self; 3] = [Self::Groups, Self::Services, Self::Topics];

    fn next(self) -> Self {
        match self {
            Self::Groups => Self::Services,
            Self::Services => Self::Topics,
            Self::Topics => Self::Groups,
        }
    }

    fn at(self) -> usize {
        Self::ALL.iter().position(|list| *list == self).unwrap_or(0)
    }

    /// How its rows may be sorted, the first by default.
    fn sorts(self) -> &'static [&'static str] {
        match self {
            Self::Groups => &["lag", "change", "name"],
            Self::Services => &["trouble", "age", "name"],
            Self::Topics => &["rate", "records", "name"],
        }
    }
}

/// What lies over the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Over {
    #[default]
    Nothing,
    Help,
    /// Of the row that is chosen.
    Details,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Screen {
    pub(super) list: List,
    /// The chosen row of each list, by its name so that it stays chosen when rows move.
    chosen: [Option<String>; 3],
    sorts: [usize; 3],
    pub(super) filter: String,
    /// The filter is being written.
    pub(super) finding: bool,
    pub(super) over: Over,
    pub(super) paused: bool,
}

/// What a key asks of whoever runs the dashboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Quit,
}

impl Screen {
    pub(super) fn key(&mut self, key: KeyEvent, board: &Board) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Asked::Quit,
            code if self.finding => self.find(code),
            code if self.over != Over::Nothing => self.close(code),
            code => return self.act(code, board),
        }
        Asked::Nothing
    }

    fn find(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.finding = false,
            KeyCode::Esc => (self.finding, self.filter) = (false, String::new()),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.chars().count() < TOP_FILTER_CHARS_MAX => {
                self.filter.push(c);
            }
            _ => {}
        }
    }

    fn close(&mut self, code: KeyCode) {
        if matches!(code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?')) {
            self.over = Over::Nothing;
        }
    }

    fn act(&mut self, code: KeyCode, board: &Board) -> Asked {
        match code {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.finding = true,
            KeyCode::Char('?') => self.over = Over::Help,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => {
                let at = self.list.at();
                self.sorts[at] = (self.sorts[at] + 1) % self.list.sorts().len();
            }
            KeyCode::Tab => self.list = self.list.next(),
            KeyCode::BackTab => self.list = self.list.next().next(),
            KeyCode::Char('j') | KeyCode::Down => self.step(board, 1),
            KeyCode::Char('k') | KeyCode::Up => self.step(board, -1),
            KeyCode::Enter if self.row(self.list, board).is_some() => self.over = Over::Details,
            _ => {}
        }
        Asked::Nothing
    }

    fn step(&mut self, board: &Board, by: isize) {
        let names = self.names(self.list, board);
        let at = self.row(self.list, board).unwrap_or(0).saturating_add_signed(by);
        let name = names.get(at.min(names.len().saturating_sub(1)));
        self.chosen[self.list.at()] = name.cloned();
    }

    pub(super) fn sort(&self, list: List) -> &'static str {
        list.sorts()[self.sorts[list.at()]]
    }

    fn names(&self, list: List, board: &Board) -> Vec<String> {
        match list {
            List::Groups => self.groups(board).iter().map(|row| row.name.clone()).collect(),
            List::Services => self.services(board).iter().map(|row| row.name.clone()).collect(),
            List::Topics => self.topics(board).iter().map(|row| row.name.clone()).collect(),
        }
    }

    /// The chosen row of a list; the first where that is gone, none where there are none.
    pub(super) fn row(&self, list: List, board: &Board) -> Option<usize> {
        let names = self.names(list, board);
        let chosen = self.chosen[list.at()].as_ref();
        let at = chosen.and_then(|chosen| names.iter().position(|name| name == chosen));
        at.or_else(|| (!names.is_empty()).then_some(0))
    }

    fn shows(&self, name: &str) -> bool {
        name.to_lowercase().contains(&self.filter.to_lowercase())
    }

    /// As they are shown.
    pub(super) fn groups<'b>(&self, board: &'b Board) -> Vec<&'b GroupRow> {
        let mut rows: Vec<_> = board.groups.iter().filter(|row| self.shows(&row.name)).collect();
        rows.sort_by(|a, b| {
            let change = |row: &GroupRow| row.per_second.unwrap_or(0.0);
            let by = match self.sort(List::Groups) {
                "lag" => b.lag.cmp(&a.lag),
                "change" => change(b).total_cmp(&change(a)),
                _ => std::cmp::Ordering::Equal,
            };
            by.then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    pub(super) fn services<'b>(&self, board: &'b Board) -> Vec<&'b ServiceRow> {
        let mut rows: Vec<_> = board.services.iter().filter(|row| self.shows(&row.name)).collect();
        rows.sort_by(|a, b| {
            let trouble = |row: &ServiceRow| (row.outage.is_some(), row.dead_keys, row.failing);
            let by = match self.sort(List::Services) {
                "trouble" => trouble(b).cmp(&trouble(a)),
                "age" => b.lag_seconds.total_cmp(&a.lag_seconds),
                _ => std::cmp::Ordering::Equal,
            };
            by.then_with(|| a.name.cmp(&b.name))
        });
        rows
    }

    /// Those that are somebody's own come first.
    pub(super) fn topics<'b>(&self, board: &'b Board) -> Vec<&'b TopicRow> {
        let mut rows: Vec<_> = board.topics.iter().filter(|row| self.shows(&row.name)).collect();
        rows.sort_by(|a, b| {
            let rate = |row: &TopicRow| row.per_second.unwrap_or(0.0);
            let by = match self.sort(List::Topics) {
                "rate" => rate(b).total_cmp(&rate(a)).then(b.records.cmp(&a.records)),
                "records" => b.records.cmp(&a.records),
                _ => std::cmp::Ordering::Equal,
            };
            a.internal.cmp(&b.internal).then(by).then_with(|| a.name.cmp(&b.name))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::tests::sample;
    use super::*;

    fn press(screen: &mut Screen, board: &Board, keys: &[KeyCode]) -> Asked {
        let press = |key: &KeyCode| screen.key(KeyEvent::new(*key, KeyModifiers::NONE), board);
        keys.iter().map(press).last().unwrap()
    }

    fn board() -> Board {
        let mut board = Board::default();
        board.take(sample(0, 100, &[("billing", 1, 90), ("archive", 1, 10), ("mail", 1, 50)]), &[]);
        board
    }

    fn names(screen: &Screen, board: &Board) -> String {
        screen.names(List::Groups, board).join(" ")
    }

    #[test]
    fn rows_are_sorted_and_found_and_the_chosen_one_stays_chosen() {
        use KeyCode::{Backspace, Char, Down, Enter, Esc, Up};
        let (mut screen, board) = (Screen::default(), board());
        assert_eq!(names(&screen, &board), "archive mail billing", "by lag");
        press(&mut screen, &board, &[Down]);
        assert_eq!(screen.row(List::Groups, &board), Some(1));
        press(&mut screen, &board, &[Char('s'), Char('s')]);
        assert_eq!(names(&screen, &board), "archive billing mail", "by name");
        assert_eq!(screen.row(List::Groups, &board), Some(2), "mail is still chosen");
        press(&mut screen, &board, &[Up, Up, Up, Up]);
        assert_eq!(screen.row(List::Groups, &board), Some(0));
        press(&mut screen, &board, &[Char('/'), Char('q'), Backspace, Char('I'), Enter]);
        assert_eq!(names(&screen, &board), "archive billing mail");
        press(&mut screen, &board, &[Char('/'), Char('L'), Enter]);
        assert_eq!(names(&screen, &board), "billing mail", "with `il` in it");
        press(&mut screen, &board, &[Esc]);
        assert_eq!(names(&screen, &board), "archive billing mail");
    }

    #[test]
    fn keys_open_close_pause_and_quit() {
        use KeyCode::{Char, Enter, Tab};
        let (mut screen, board) = (Screen::default(), board());
        press(&mut screen, &board, &[Enter]);
        assert_eq!(screen.over, Over::Details);
        assert_eq!(
            press(&mut screen, &board, &[Char('q')]),
            Asked::Nothing,
            "it closes what is open"
        );
        assert_eq!(screen.over, Over::Nothing);
        press(&mut screen, &board, &[Tab, Enter]);
        assert_eq!(
            (screen.list, screen.over),
            (List::Services, Over::Nothing),
            "there is none to show"
        );
        press(&mut screen, &board, &[Char('p'), Char('?')]);
        assert_eq!((screen.paused, screen.over), (true, Over::Help));
        press(&mut screen, &board, &[Char('?'), Char('/')]);
        assert_eq!(press(&mut screen, &board, &[Char('q')]), Asked::Nothing, "it is written");
        let interrupt = KeyEvent::new(Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.key(interrupt, &board), Asked::Quit);
        press(&mut screen, &board, &[Enter]);
        assert_eq!(press(&mut screen, &board, &[Char('q')]), Asked::Quit);
    }
}
