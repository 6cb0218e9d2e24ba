//! Compares two values by what `{:?}` shows of them: field names and values, not type names.
//!
//! `Some(x)` is `x`, and `None` equals an empty list or text: which of these is on the wire is
//! compared byte by byte elsewhere.

use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tree {
    None,
    Leaf(String),
    List(Vec<Tree>),
    Fields(BTreeMap<String, Tree>),
}

impl Tree {
    pub(crate) fn of(shown: &str) -> Self {
        let mut parser = Parser { rest: shown };
        let tree = parser.tree();
        assert_eq!(parser.rest, "", "left over in {shown}");
        tree
    }

    /// Whether every field here is there with the same value.
    pub(crate) fn same_in(&self, other: &Self) -> Result<(), String> {
        match (self, other) {
            (Self::Fields(ours), Self::Fields(theirs)) => {
                for (name, value) in ours {
                    let there = theirs.get(name).ok_or(format!("no field {name} there"))?;
                    value.same_in(there).map_err(|difference| format!("{name}: {difference}"))?;
                }
                Ok(())
            }
            (Self::List(ours), Self::List(theirs)) if ours.len() == theirs.len() => {
                ours.iter().zip(theirs).try_for_each(|(ours, theirs)| ours.same_in(theirs))
            }
            _ if self == other || (self.is_empty() && other.is_empty()) => Ok(()),
            _ => Err(format!("{self:?} is not {other:?}")),
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::None => true,
            Self::Leaf(text) => text == "\"\"" || text == "b\"\"",
            Self::List(list) => list.is_empty(),
            Self::Fields(_) => false,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        self.rest = rest;
        true
    }

    fn word(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        let end = self.rest.find([' ', ',', '(', ')', '[', ']', '{', '}', ':']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn quoted(&mut self) -> String {
        let prefix = if self.eat("b\"") { "b\"" } else { "\"" };
        if prefix == "\"" {
            assert!(self.eat("\""));
        }
        let mut escaped = false;
        let end = self.rest.find(|letter: char| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        let (text, rest) = self.rest.split_at(end.expect("the quote ends"));
        self.rest = &rest[1..];
        format!("{prefix}{text}\"")
    }

    fn tree(&mut self) -> Tree {
        self.rest = self.rest.trim_start();
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return Tree::Leaf(self.quoted());
        }
        if self.eat("[") {
            let mut list = Vec::new();
            while !self.eat("]") {
                list.push(self.tree());
                self.eat(",");
            }
            return Tree::List(list);
        }
        if self.eat("{") {
            assert!(self.eat("}"), "only empty maps are expected: {}", self.rest);
            return Tree::List(Vec::new());
        }
        let word = self.word();
        if self.eat("{") {
            return self.fields();
        }
        if self.eat("(") {
            let inner = self.tree();
            assert!(self.eat(")"), "one value per tuple: {}", self.rest);
            return inner;
        }
        match uuid(word) {
            Some(bytes) => Tree::List(bytes.map(|byte| Tree::Leaf(byte.to_string())).into()),
            None if word == "None" => Tree::None,
            None => Tree::Leaf(word.to_owned()),
        }
    }

    fn fields(&mut self) -> Tree {
        let mut fields = BTreeMap::new();
        while !self.eat("}") {
            // Theirs puts an underscore before a name that is a word of Rust's.
            let name = self.word().trim_start_matches('_').to_owned();
            assert!(self.eat(":"), "a field's value: {}", self.rest);
            let value = self.tree();
            fields.insert(name, value);
            self.eat(",");
        }
        Tree::Fields(fields)
    }
}

/// The bytes of a UUID as `{:?}` shows it, with hyphens.
fn uuid(word: &str) -> Option<[u8; 16]> {
    let digits: String = word.chars().filter(|letter| *letter != '-').collect();
    if word.len() != 36 || digits.len() != 32 {
        return None;
    }
    u128::from_str_radix(&digits, 16).ok().map(u128::to_be_bytes)
}
