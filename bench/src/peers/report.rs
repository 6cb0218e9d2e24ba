//! The table: rows of figures, a column per peer and one for the limit, medians over the rounds.

use std::collections::BTreeMap;

use super::peer::Kind;

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unit {
    PerSecond,
    MegabytesPerSecond,
    Milliseconds,
    Megabytes,
    Kilobytes,
    Seconds,
    Percent,
}

impl Unit {
    fn show(self, figure: f64) -> String {
        match self {
            Self::PerSecond if figure >= 1e6 => format!("{:.2} M/s", figure / 1e6),
            Self::PerSecond => format!("{figure:.0}/s"),
            Self::MegabytesPerSecond => format!("{figure:.0} MB/s"),
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::Megabytes => format!("{figure:.1} MB"),
            Self::Kilobytes => format!("{figure:.1} KB"),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Percent => format!("{figure:.1} %"),
        }
    }
}

/// Whose figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Column {
    Peer(Kind),
    /// What the client, the disk or the memory can do at most, in the same round.
    Limit,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// What is wanted of ours.
    pub(super) wanted: &'static str,
}

#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    figures: BTreeMap<(&'static str, Column), Vec<f64>>,
}

impl Report {
    /// Takes a figure, and shows it at once: a whole run takes long.
    pub(super) fn put(&mut self, row: Row, column: Column, figure: f64) {
        let whose = match column {
            Column::Peer(kind) => kind.name(),
            Column::Limit => "limit",
        };
        eprintln!("  {whose}: {} {}", row.name.trim_start(), row.unit.show(figure));
        if self.rows.iter().all(|known| known.name != row.name) {
            self.rows.push(row);
        }
        self.figures.entry((row.name, column)).or_default().push(figure);
    }

    fn median(&self, row: &Row, column: Column) -> Option<f64> {
        let mut figures = self.figures.get(&(row.name, column))?.clone();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    }

    pub(super) fn print(&self) {
        let columns = Kind::ALL.map(Column::Peer);
        let names = Kind::ALL.map(Kind::name);
        let [first, second, third, fourth] = names;
        println!(
            "\n{:<44} {first:>12} {second:>12} {third:>16} {fourth:>12} {:>12} {:>8} {:>8}",
            "", "limit", "x kafka", "x limit"
        );
        for row in &self.rows {
            let show = |column| {
                self.median(row, column).map_or("-".to_owned(), |figure| row.unit.show(figure))
            };
            let [ours, theirs, flushing, tansu] = columns.map(show);
            let limit = show(Column::Limit);
            let to = |other| self.ratio(row, other).map_or("-".to_owned(), |x| format!("{x:.2}"));
            let (kafka, bound) = (to(Column::Peer(Kind::Kafka)), to(Column::Limit));
            println!(
                "{:<44} {ours:>12} {theirs:>12} {flushing:>16} {tansu:>12} {limit:>12} {kafka:>8} {bound:>8}  {}",
                row.name, row.wanted
            );
        }
    }

    /// Ours to another's.
    fn ratio(&self, row: &Row, other: Column) -> Option<f64> {
        Some(self.median(row, Column::Peer(Kind::Tidings))? / self.median(row, other)?)
    }
}
