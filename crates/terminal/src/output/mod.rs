//! What commands answer, in the form that was asked for.
//!
//! An [`Answer`] says what it is; [`show`] is the one place that decides how it looks. Answers that come in
//! pieces (records, batches of a file) go through [`piece`]. A reader that has gone away is not an error.
//!
//! The forms: `table` and `wide` for people, `json` for the whole as one document, `jsonl` for one object a line,
//! `yaml` for the same document, `name` for bare names. docs/command-line.md has the shapes.

pub mod yaml;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::Form;
use crate::failure::Failure;
use crate::table::{Look, visible};

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    There,
    Gone,
}

/// One of the things that an answer is about: a line of `jsonl`, and of `name`.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub name: String,
    pub value: Value,
}

impl Item {
    /// A thing by its name, with what JSON says of it.
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }
}

/// What a command answers.
pub trait Answer {
    /// The whole, whose shape is documented and stable.
    fn document(&self) -> Value;
    /// What it is about, one by one.
    fn items(&self) -> Vec<Item>;
    /// For people, with line ends.
    fn text(&self, look: Look) -> String;
}

/// That something was done to the thing of this name.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    pub what: &'static str,
    pub name: &'a str,
}

impl Answer for Done<'_> {
    fn document(&self) -> Value {
        json!({ self.what: self.name })
    }

    fn items(&self) -> Vec<Item> {
        vec![Item::new(self.name, self.document())]
    }

    fn text(&self, _look: Look) -> String {
        format!("{} {}\n", self.what, self.name)
    }
}

/// Prints it, in the terminal's look.
pub fn show(form: Form, answer: &impl Answer) -> Result<(), Failure> {
    print(&rendered(form, answer, Look::of(form)))
}

/// As [`show`] prints it.
pub fn rendered(form: Form, answer: &impl Answer, look: Look) -> String {
    match form {
        Form::Table | Form::Wide => answer.text(look),
        Form::Json => format!("{}\n", answer.document()),
        Form::Yaml => yaml::document(&answer.document()),
        Form::Jsonl | Form::Name => {
            answer.items().iter().filter_map(|item| piece(form, item)).collect()
        }
    }
}

/// One thing of an answer that comes in pieces: a line of JSON, a document of YAML, a name; none where a table
/// is wanted, which the command makes itself.
pub fn piece(form: Form, item: &Item) -> Option<String> {
    match form {
        Form::Table | Form::Wide => None,
        Form::Json | Form::Jsonl => Some(format!("{}\n", item.value)),
        Form::Yaml => Some(format!("---\n{}", yaml::document(&item.value))),
        Form::Name => Some(format!("{}\n", visible(&item.name))),
    }
}

/// To standard output, at once.
pub fn write(bytes: &[u8]) -> Result<Reader, Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(e) => Err(Failure::failed("standard output cannot be written").why(e)),
    }
}

/// As [`write()`]; that nobody reads any more is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes()).map(|_whether_or_not_read| ())
}

/// One line of JSON.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value);
    let text = text.map_err(|e| Failure::failed("the answer has no JSON form").why(e))?;
    print(&(text + "\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{left, right, table};

    struct Two;

    impl Answer for Two {
        fn document(&self) -> Value {
            json!({ "things": [{ "name": "a", "size": 1 }, { "name": "b", "size": 2 }] })
        }

        fn items(&self) -> Vec<Item> {
            vec![
                Item::new("a", json!({ "name": "a", "size": 1 })),
                Item::new("b", json!({ "name": "b", "size": 2 })),
            ]
        }

        fn text(&self, look: Look) -> String {
            let rows = [["a", "1"], ["b", "2"]].map(|row| row.map(str::to_owned));
            table([left("NAME"), right("N").wide()], &rows, look)
        }
    }

    #[test]
    fn an_answer_has_every_form() {
        for (form, wanted) in [
            (Form::Table, "NAME\na\nb\n"),
            (Form::Wide, "NAME  N\na     1\nb     2\n"),
            (
                Form::Json,
                "{\"things\":[{\"name\":\"a\",\"size\":1},{\"name\":\"b\",\"size\":2}]}\n",
            ),
            (Form::Jsonl, "{\"name\":\"a\",\"size\":1}\n{\"name\":\"b\",\"size\":2}\n"),
            (Form::Yaml, "things:\n- name: a\n  size: 1\n- name: b\n  size: 2\n"),
            (Form::Name, "a\nb\n"),
        ] {
            assert_eq!(rendered(form, &Two, Look::plain(form)), wanted, "{form:?}");
        }
    }

    #[test]
    fn pieces_have_the_forms_of_programs() {
        let item = Item::new("t-0@7", json!({ "offset": 7 }));
        for (form, wanted) in [
            (Form::Table, None),
            (Form::Wide, None),
            (Form::Json, Some("{\"offset\":7}\n")),
            (Form::Jsonl, Some("{\"offset\":7}\n")),
            (Form::Yaml, Some("---\noffset: 7\n")),
            (Form::Name, Some("t-0@7\n")),
        ] {
            assert_eq!(piece(form, &item).as_deref(), wanted, "{form:?}");
        }
    }
}
