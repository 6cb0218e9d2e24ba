//! Prometheus' text format (0.0.4), written family by family without a value for each sample in between: a scrape
//! may have a hundred thousand of them.
//!
//! Source: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{self, Display, Write as _};

use super::figure::{Family, Figure};

/// The content type of a text.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4";

/// A text under way. The samples of a family follow its beginning; one without samples leaves nothing.
#[derive(Debug, Default)]
pub(super) struct Exposition {
    out: String,
    family: Option<&'static Family>,
    is_named: bool,
}

impl Exposition {
    pub(super) fn begin(&mut self, family: &'static Family) {
        (self.family, self.is_named) = (Some(family), false);
    }

    /// One of the family that was begun last, with the values of its labels.
    pub(super) fn sample(&mut self, labels: &[&dyn Display], value: f64) {
        let Some(family) = self.family else { return };
        let Family { name, help, kind, labels: names } = family;
        if !self.is_named {
            self.line(format_args!("# HELP {name} {help}"));
            self.line(format_args!("# TYPE {name} {}", kind.name()));
            self.is_named = true;
        }
        self.out.push_str(name);
        for (at, (label, value)) in names.iter().zip(labels).enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            write!(self.out, "{before}{label}=\"").expect("writing to a string");
            write!(Escaped(&mut self.out), "{value}").expect("writing to a string");
            self.out.push('"');
        }
        let end = if names.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    /// A line that no program reads.
    pub(super) fn comment(&mut self, text: &str) {
        self.line(format_args!("# {text}"));
    }

    /// Figures of a family follow each other.
    pub(super) fn figures(&mut self, figures: &[Figure]) {
        for Figure { family, labels, value } in figures {
            if self.family != Some(*family) {
                self.begin(family);
            }
            let labels: Vec<&dyn Display> = labels.iter().map(|label| label as _).collect();
            self.sample(&labels, *value);
        }
    }

    pub(super) fn text(self) -> String {
        self.out
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("writing to a string");
        self.out.push('\n');
    }
}

/// Writes what is inside of a label's quotation marks.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_prometheus_reads_them() {
        static A: Family = Family::counter("tidings_a_total", "Help.", &[]);
        static B: Family = Family::gauge("tidings_b", "Help.", &["group", "topic"]);
        static UNSEEN: Family = Family::gauge("tidings_c", "Help.", &[]);
        let of = |group: &str, value| Figure {
            family: &B,
            labels: vec![group.to_owned(), "t".to_owned()],
            value,
        };
        let mut text = Exposition::default();
        text.figures(&[A.is(3.0), of("x\"\\\n", 0.5), of("y", 2.0)]);
        text.begin(&UNSEEN);
        text.comment("nothing of it");
        let wanted = "# HELP tidings_a_total Help.\n# TYPE tidings_a_total counter\ntidings_a_total 3\n\
                      # HELP tidings_b Help.\n# TYPE tidings_b gauge\n\
                      tidings_b{group=\"x\\\"\\\\\\n\",topic=\"t\"} 0.5\n\
                      tidings_b{group=\"y\",topic=\"t\"} 2\n# nothing of it\n";
        assert_eq!(text.text(), wanted);
    }
}
