//! Records out of a stream of bytes, as a format says them: `produce -f`.
//!
//! A field ends where the text after it begins, has the length that was read or said before it (`%K{big32}%k`,
//! `%K{4}%k`), is a JSON value or what an expression matches, or goes on to the end of the input. A format in which neither is so is refused, so that every
//! input can be read in one way only. Of the last text of a format, nothing need be there at the end of the input.
//!
//! Limits: a field has at most [`LINE_BYTES_MAX`] bytes, a record [`HEADERS_MAX`] headers.

mod input;

use std::io::BufRead;
use tidings_terminal::failure::{Exit, Failure};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use regex::bytes::{Regex, RegexBuilder};
use tidings::said_time;
use tidings_node::Header;

pub(crate) use self::input::Input;
use super::{Encoding, Escape, NumberForm, Refused, Token, tokens};
use crate::limits::{GREP_BYTES_MAX, HEADERS_MAX, LINE_BYTES_MAX};
use crate::time::now_ms;

/// A format for reading, parsed.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    steps: Vec<Step>,
    pub(crate) has_topic: bool,
}

/// What a record is read as; the format may leave all of it out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadRecord {
    pub(crate) topic: Option<Bytes>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Vec<Header>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Must be there; the last one may be missing at the end of the input.
    Text {
        text: Vec<u8>,
        last: bool,
    },
    Size(Field, Size),
    Field(Field, Encoding, Extent),
    Partition(NumberForm),
    Timestamp(NumberForm),
    /// A time as people say it.
    Moment(Extent),
    HeaderCount(Size),
    Headers(Vec<Step>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Topic,
    Key,
    Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Read(NumberForm),
    /// Said in the format; takes no input.
    Said(usize),
}

/// How far a field goes.
#[derive(Clone, Debug)]
enum Extent {
    Sized,
    /// To this text, which is taken as well. The last one may be missing at the end of the input.
    Until {
        text: Vec<u8>,
        last: bool,
    },
    ToTheEnd,
    /// One JSON value, with blanks before it.
    Json,
    /// As far as the expression matches, within the line.
    Match(Regex),
}

const ESCAPES: &str = "%t %k %v %h{…} %p %d, lengths %T %K %V %H, signs %% %{ %}";

impl Reader {
    pub(crate) fn parse(format: &str) -> Result<Self, Refused> {
        let steps = steps(tokens(format)?, true)?;
        let has_topic = steps.iter().any(|step| matches!(step, Step::Field(Field::Topic, ..)));
        let takes_input = |step: &Step| !matches!(step, Step::Size(_, Size::Said(_)));
        if !steps.iter().any(takes_input) {
            return Err(Refused {
                what: "all of it".to_owned(),
                at: 1,
                why: "it reads nothing".to_owned(),
                hint: "%v\\n".to_owned(),
            });
        }
        Ok(Self { steps, has_topic })
    }

    /// The next record; none at the end of the input. `number` is its place in the input, from 1, for what is said
    /// of a record that does not fit.
    pub(crate) fn next(
        &self,
        input: &mut Input<impl BufRead>,
        number: u64,
    ) -> Result<Option<ReadRecord>, Failure> {
        let before = input.taken();
        let mut read =
            Reading { input, sizes: [None; 3], headers: 0, record: ReadRecord::default() };
        let whole = read.whole(&self.steps).map_err(|trouble| trouble.failure(number))?;
        let record = read.record;
        if whole && input.taken() == before {
            // The next one would take nothing either, and so on.
            return Err(Trouble::Other("it takes nothing of the input".to_owned()).failure(number));
        }
        Ok(whole.then_some(record))
    }
}

/// `whole` is false for what stands in `%h{…}`, whose end is not the end of the input.
fn steps(tokens: Vec<Token<'_>>, whole: bool) -> Result<Vec<Step>, Refused> {
    let mut steps: Vec<Step> = Vec::new();
    let count = tokens.len();
    let mut tokens = tokens.into_iter().enumerate().peekable();
    while let Some((_, token)) = tokens.next() {
        let escape = match token {
            Token::Text(text) => {
                let last = whole && tokens.peek().is_none();
                steps.push(Step::Text { text, last });
                continue;
            }
            Token::Escape(escape) => escape,
        };
        let is_read = |step: &Step| matches!(step, Step::Field(of, ..) if Field::of(escape.letter) == Some(*of));
        if steps.iter().any(is_read) {
            return Err(escape.refused("it is read before", "each field once"));
        }
        let takes_until = matches!(escape.letter, 't' | 'k' | 'v')
            || escape.letter == 'd' && matches!(escape.modifier, None | Some("iso"));
        let is_sized = Field::of(escape.letter).is_some_and(|field| {
            steps.iter().any(|step| matches!(step, Step::Size(of, _) if *of == field))
        });
        let extent = match tokens.peek() {
            _ if !takes_until || is_sized => Extent::Sized,
            _ if escape.modifier == Some("json") => Extent::Json,
            _ if escape.pattern("re").is_some() => Extent::Match(expression(&escape)?),
            Some((at, Token::Text(text))) => {
                let until = Extent::Until { text: text.clone(), last: whole && at + 1 == count };
                tokens.next();
                until
            }
            None if whole => Extent::ToTheEnd,
            _ => {
                let why = "where it ends cannot be told";
                return Err(escape.refused(why, "text after it, or its length before it: %K{4}%k"));
            }
        };
        steps.push(step(&escape, extent, whole, &steps)?);
    }
    Ok(steps)
}

fn step(
    escape: &Escape<'_>,
    extent: Extent,
    whole: bool,
    before: &[Step],
) -> Result<Step, Refused> {
    match escape.letter {
        'k' | 'v' => field(escape, extent),
        'K' => size(escape).map(|size| Step::Size(Field::Key, size)),
        'V' => size(escape).map(|size| Step::Size(Field::Value, size)),
        _ if !whole => Err(escape.refused("a header has a key and a value", "%k %v %K %V")),
        't' => field(escape, extent),
        'T' => size(escape).map(|size| Step::Size(Field::Topic, size)),
        'H' => size(escape).map(Step::HeaderCount),
        'p' => escape.number().map(Step::Partition),
        'd' => match escape.modifier {
            None | Some("iso") => Ok(Step::Moment(extent)),
            Some(_) => escape.number().map(Step::Timestamp),
        },
        'h' => {
            let counted = before.iter().any(|step| matches!(step, Step::HeaderCount(_)));
            let Some(inner) = escape.modifier.filter(|_| counted) else {
                let why = "how many headers come, or how each is written, is not said";
                return Err(escape.refused(why, "%H %h{%k=%v;}"));
            };
            let shifted = |refused: Refused| refused.shifted(escape.at + 2);
            let inner = tokens(inner).and_then(|tokens| steps(tokens, false)).map_err(shifted)?;
            Ok(Step::Headers(inner))
        }
        'o' | 'e' | 'a' | 'x' | 'y' | 'i' | '[' | ']' | '|' => {
            escape.without_modifier(())?;
            Err(escape.refused("the broker says that, not who produces", ESCAPES))
        }
        _ => Err(escape.refused("there is no such escape", ESCAPES)),
    }
}

fn field(escape: &Escape<'_>, extent: Extent) -> Result<Step, Refused> {
    let field = Field::of(escape.letter).unwrap_or(Field::Value);
    let encoding = match escape.modifier {
        _ if matches!(extent, Extent::Json | Extent::Match(_)) => Encoding::Raw,
        None => Encoding::Raw,
        Some(modifier) => Encoding::of(modifier).ok_or_else(|| {
            escape.refused("a field is not read so", "hex, base64, base64raw, json or re#…#")
        })?,
    };
    Ok(Step::Field(field, encoding, extent))
}

fn expression(escape: &Escape<'_>) -> Result<Regex, Refused> {
    let pattern = escape.pattern("re").unwrap_or_else(|| Ok(String::new()))?;
    let built = RegexBuilder::new(&format!("\\A(?:{pattern})"))
        .size_limit(GREP_BYTES_MAX)
        .dfa_size_limit(GREP_BYTES_MAX)
        .build();
    built.map_err(|_| {
        escape.refused("that is no regular expression, or too large a one", "re#[0-9]+#")
    })
}

fn size(escape: &Escape<'_>) -> Result<Size, Refused> {
    if let Some(said) = escape.modifier.and_then(|modifier| modifier.parse::<usize>().ok()) {
        if said > LINE_BYTES_MAX {
            let why = format!("a field has at most {LINE_BYTES_MAX} bytes");
            return Err(escape.refused(why, "a smaller one"));
        }
        return Ok(Size::Said(said));
    }
    escape.number().map(Size::Read)
}

impl Field {
    fn of(letter: char) -> Option<Self> {
        match letter {
            't' => Some(Self::Topic),
            'k' => Some(Self::Key),
            'v' => Some(Self::Value),
            _ => None,
        }
    }
}

/// Why a record was not read.
enum Trouble {
    Input(std::io::Error),
    /// The input ended in the middle of it.
    Ends,
    TooLong,
    /// What was wanted, and what was there.
    Other(String),
}

impl Trouble {
    fn failure(self, number: u64) -> Failure {
        let why = match self {
            Self::Input(error) => {
                return Failure::failed("standard input cannot be read").why(error);
            }
            Self::Ends => "the input ends in the middle of it".to_owned(),
            Self::TooLong => format!("a field has at most {LINE_BYTES_MAX} bytes here"),
            Self::Other(why) => why,
        };
        Failure::new(Exit::Usage, format!("record {number} of the input does not fit the format"))
            .why(why)
            .hint("another --format; what came before it was sent")
    }
}

/// A record on its way.
struct Reading<'a, R> {
    input: &'a mut Input<R>,
    /// By field.
    sizes: [Option<usize>; 3],
    headers: usize,
    record: ReadRecord,
}

impl<R: BufRead> Reading<'_, R> {
    /// False at the end of the input.
    fn whole(&mut self, steps: &[Step]) -> Result<bool, Trouble> {
        if matches!(steps.first(), Some(Step::Field(_, _, Extent::Json))) {
            self.skip_blanks()?;
        }
        if self.peek()?.is_none() {
            return Ok(false);
        }
        self.all(steps).map(|()| true)
    }

    fn all(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        for step in steps {
            match step {
                Step::Text { last: true, .. } if self.peek()?.is_none() => {}
                Step::Text { text, .. } => self.text(text)?,
                Step::Size(field, size) => self.sizes[*field as usize] = Some(self.size(*size)?),
                Step::Field(field, encoding, extent) => {
                    let bytes = self.bytes(*field, extent)?;
                    let bytes = Some(decoded(bytes, *encoding)?);
                    match field {
                        Field::Topic => self.record.topic = bytes,
                        Field::Key => self.record.key = bytes,
                        Field::Value => self.record.value = bytes,
                    }
                }
                Step::Partition(form) => {
                    let number = self.number(*form)?;
                    let partition = i32::try_from(number).ok().filter(|number| *number >= 0);
                    let unsound = || Trouble::Other(format!("{number} is no partition"));
                    self.record.partition = Some(partition.ok_or_else(unsound)?);
                }
                Step::Timestamp(form) => self.record.timestamp = Some(self.number(*form)?),
                Step::Moment(extent) => {
                    let said = self.bytes(Field::Value, extent)?;
                    let said = String::from_utf8_lossy(&said).into_owned();
                    let unsound = || Trouble::Other(format!("{said:?} is no time"));
                    let moment = said_time::moment(&said, now_ms()).ok_or_else(unsound)?;
                    self.record.timestamp = Some(moment);
                }
                Step::HeaderCount(size) => {
                    self.headers = self.size(*size)?;
                    if self.headers > HEADERS_MAX {
                        let why = format!("a record has at most {HEADERS_MAX} headers here");
                        return Err(Trouble::Other(why));
                    }
                }
                Step::Headers(steps) => self.headers(steps)?,
            }
        }
        Ok(())
    }

    fn headers(&mut self, steps: &[Step]) -> Result<(), Trouble> {
        for _ in 0..self.headers {
            let mut of_header = Reading {
                input: &mut *self.input,
                sizes: [None; 3],
                headers: 0,
                record: ReadRecord::default(),
            };
            of_header.all(steps)?;
            let ReadRecord { key, value, .. } = of_header.record;
            let name = String::from_utf8(key.unwrap_or_default().to_vec());
            let name =
                name.map_err(|_| Trouble::Other("a header's name is not UTF-8".to_owned()))?;
            self.record.headers.push(Header { name: name.into(), value });
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) -> Result<(), Trouble> {
        let there = self.exactly(text.len())?;
        if there == text {
            return Ok(());
        }
        let (wanted, there) = (String::from_utf8_lossy(text), String::from_utf8_lossy(&there));
        Err(Trouble::Other(format!("{wanted:?} is wanted where {there:?} is")))
    }

    fn size(&mut self, size: Size) -> Result<usize, Trouble> {
        let number = match size {
            Size::Said(said) => return Ok(said),
            Size::Read(form) => self.number(form)?,
        };
        let size = usize::try_from(number)
            .map_err(|_| Trouble::Other(format!("{number} is no length")))?;
        if size > LINE_BYTES_MAX { Err(Trouble::TooLong) } else { Ok(size) }
    }

    fn bytes(&mut self, field: Field, extent: &Extent) -> Result<Vec<u8>, Trouble> {
        match extent {
            Extent::Sized => {
                let size = self.sizes[field as usize].take().unwrap_or_default();
                self.exactly(size)
            }
            Extent::Until { text, last } => self.until(text, *last),
            Extent::ToTheEnd => {
                let mut bytes = Vec::new();
                while let Some(byte) = self.byte()? {
                    push(&mut bytes, byte)?;
                }
                Ok(bytes)
            }
            Extent::Json => self.json(),
            Extent::Match(expression) => self.matching(expression),
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, Trouble> {
        self.input.take().map_err(Trouble::Input)
    }

    fn peek(&mut self) -> Result<Option<u8>, Trouble> {
        self.input.peek().map_err(Trouble::Input)
    }

    fn skip_blanks(&mut self) -> Result<(), Trouble> {
        while self.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.input.skip(1);
        }
        Ok(())
    }

    fn matching(&mut self, expression: &Regex) -> Result<Vec<u8>, Trouble> {
        let line = self.input.line().map_err(Trouble::Input)?;
        let Some(found) = expression.find(line) else {
            return Err(Trouble::Other(format!("{expression} matches nothing there")));
        };
        let bytes = found.as_bytes().to_vec();
        if bytes.len() > LINE_BYTES_MAX {
            return Err(Trouble::TooLong);
        }
        self.input.skip(bytes.len());
        Ok(bytes)
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            bytes.push(self.byte()?.ok_or(Trouble::Ends)?);
        }
        Ok(bytes)
    }

    fn until(&mut self, text: &[u8], last: bool) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                Some(byte) => push(&mut bytes, byte)?,
                None if last => return Ok(bytes),
                None => return Err(Trouble::Ends),
            }
            if bytes.ends_with(text) {
                bytes.truncate(bytes.len() - text.len());
                return Ok(bytes);
            }
        }
    }

    /// One JSON value: to the end of the outermost object, list or text, or for other scalars as far as their
    /// characters go.
    fn json(&mut self) -> Result<Vec<u8>, Trouble> {
        self.skip_blanks()?;
        let mut bytes = Vec::new();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        while let Some(byte) = self.peek()? {
            let structural = matches!(byte, b'{' | b'[' | b'}' | b']' | b'"' | b',' | b':');
            if depth == 0
                && !quoted
                && !bytes.is_empty()
                && (structural || byte.is_ascii_whitespace())
            {
                break;
            }
            self.input.skip(1);
            push(&mut bytes, byte)?;
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => depth += 1,
                b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && !quoted && matches!(byte, b'}' | b']' | b'"') {
                break;
            }
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(&bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Trouble::Other(format!("a JSON value is wanted: {error}"))),
        }
    }

    fn number(&mut self, form: NumberForm) -> Result<i64, Trouble> {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        match form {
            NumberForm::Ascii => {
                let mut digits = Vec::new();
                while let Some(byte) = self.peek()?.filter(u8::is_ascii_digit) {
                    self.input.skip(1);
                    push(&mut digits, byte)?;
                }
                let digits = text(digits);
                let parsed = digits.parse();
                parsed
                    .map_err(|_| Trouble::Other(format!("a number is wanted where {digits:?} is")))
            }
            NumberForm::Hex(count) => {
                let digits = text(self.exactly(count)?);
                let parsed = u64::from_str_radix(&digits, 16).map(u64::cast_signed);
                parsed.map_err(|_| Trouble::Other(format!("{digits:?} is no hexadecimal number")))
            }
            NumberForm::Big(count) => Ok(number_of(self.exactly(count)?.iter())),
            NumberForm::Little(count) => Ok(number_of(self.exactly(count)?.iter().rev())),
            NumberForm::Bool => match self.peek()? {
                Some(b't') => self.text(b"true").map(|()| 1),
                _ => self.text(b"false").map(|()| 0),
            },
        }
    }
}

fn number_of<'a>(bytes: impl Iterator<Item = &'a u8>) -> i64 {
    bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte)).cast_signed()
}

fn push(bytes: &mut Vec<u8>, byte: u8) -> Result<(), Trouble> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Trouble::TooLong);
    }
    bytes.push(byte);
    Ok(())
}

fn decoded(bytes: Vec<u8>, encoding: Encoding) -> Result<Bytes, Trouble> {
    let unsound = |what: &str| Trouble::Other(format!("a field is not {what}"));
    let decoded = match encoding {
        Encoding::Raw => bytes,
        Encoding::Hex => hex(&bytes).ok_or_else(|| unsound("hexadecimal"))?,
        Encoding::Base64 => STANDARD.decode(bytes).map_err(|_| unsound("base64"))?,
        Encoding::Base64Raw => STANDARD_NO_PAD.decode(bytes).map_err(|_| unsound("base64raw"))?,
    };
    Ok(decoded.into())
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes =
        pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    if rest.is_empty() { bytes.collect() } else { None }
}

#[cfg(test)]
mod tests;
