//! Bytes of Avro's binary encoding, by a schema, as JSON.
//!
//! Whatever takes a step writes at least one character, so the limit of the JSON is one of time. Nothing is allocated for a
//! count: each item is written as it is read.

use super::logical;
use super::{Id, Logical, Node};
use crate::Refused;
use crate::framing::zigzag;
use crate::json::Json;
use crate::limits::VALUE_DEPTH_MAX;

/// Reads all bytes; those that are left over do not fit.
pub(super) fn read(nodes: &[Node], root: Id, bytes: &[u8]) -> Result<String, Refused> {
    let mut reader = Reader { nodes, bytes, at: 0, out: Json::default() };
    if matches!(nodes[root], Node::Bytes) {
        // Bytes alone have no length before them: serializers write them as they are.
        reader.out.hex(bytes)?;
        return Ok(reader.out.finish());
    }
    reader.value(root, 0)?;
    let left = bytes.len() - reader.at;
    if left > 0 {
        return Err(reader.broken(format!("{left} bytes are left over")));
    }
    Ok(reader.out.finish())
}

pub(super) struct Reader<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    at: usize,
    pub(super) out: Json,
}

impl<'a> Reader<'a> {
    fn value(&mut self, id: Id, depth: usize) -> Result<(), Refused> {
        if depth > VALUE_DEPTH_MAX {
            return Err(Refused::TooDeep);
        }
        let nodes = self.nodes;
        match &nodes[id] {
            Node::Null => self.out.raw("null"),
            Node::Boolean => match self.take(1)? {
                [0] => self.out.raw("false"),
                [1] => self.out.raw("true"),
                _ => Err(self.broken("neither true nor false")),
            },
            Node::Int => {
                let number = self.int()?;
                self.out.raw(&number.to_string())
            }
            Node::Long => {
                let number = self.long()?;
                self.out.raw(&number.to_string())
            }
            Node::Float => {
                let number = f32::from_le_bytes(self.array()?);
                self.out.float(number.into(), || serde_json::to_string(&number).unwrap_or_default())
            }
            Node::Double => {
                let number = f64::from_le_bytes(self.array()?);
                self.out.float(number, || serde_json::to_string(&number).unwrap_or_default())
            }
            Node::Bytes => {
                let bytes = self.counted()?;
                self.out.hex(bytes)
            }
            Node::String => {
                let text = self.text()?;
                self.out.text(text)
            }
            Node::Fixed(size) => {
                let bytes = self.take(*size)?;
                self.out.hex(bytes)
            }
            Node::Enum(symbols) => {
                let symbol = self.index()?.and_then(|index| symbols.get(index));
                let symbol = symbol.ok_or_else(|| self.broken("no symbol of the enum"))?;
                self.out.text(symbol)
            }
            Node::Array(items) => self.array_of(*items, depth),
            Node::Map(values) => self.map_of(*values, depth),
            Node::Union(variants) => {
                let variant = self.index()?.and_then(|index| variants.get(index));
                let variant = variant.ok_or_else(|| self.broken("no branch of the union"))?;
                self.value(*variant, depth + 1)
            }
            Node::Record(fields) => {
                self.out.raw("{")?;
                for (at, (name, field)) in fields.iter().enumerate() {
                    self.out.raw(if at == 0 { "" } else { "," })?;
                    self.out.text(name)?;
                    self.out.raw(":")?;
                    self.value(*field, depth + 1)?;
                }
                self.out.raw("}")
            }
            Node::Same(meant) => self.value(*meant, depth + 1),
            Node::Logical(its) => self.logical(*its),
        }
    }

    fn array_of(&mut self, items: Id, depth: usize) -> Result<(), Refused> {
        self.out.raw("[")?;
        let mut first = true;
        while let Some(count) = self.block()? {
            for _ in 0..count {
                self.out.raw(if first { "" } else { "," })?;
                first = false;
                self.value(items, depth + 1)?;
            }
        }
        self.out.raw("]")
    }

    fn map_of(&mut self, values: Id, depth: usize) -> Result<(), Refused> {
        self.out.raw("{")?;
        let mut first = true;
        while let Some(count) = self.block()? {
            for _ in 0..count {
                self.out.raw(if first { "" } else { "," })?;
                first = false;
                let name = self.text()?;
                self.out.text(name)?;
                self.out.raw(":")?;
                self.value(values, depth + 1)?;
            }
        }
        self.out.raw("}")
    }

    fn logical(&mut self, logical: Logical) -> Result<(), Refused> {
        let sized = |reader: &mut Self, size: Option<usize>| match size {
            Some(size) => reader.take(size),
            None => reader.counted(),
        };
        match logical {
            Logical::Decimal { scale, size } => {
                let unscaled = sized(self, size)?;
                let scale = i64::try_from(scale).unwrap_or(i64::MAX);
                self.decimal(unscaled, scale)
            }
            Logical::BigDecimal => {
                let both = self.counted()?;
                let broken = || self.broken("no decimal with a scale");
                let (count, rest) = zigzag(both).ok_or_else(broken)?;
                let count = usize::try_from(count).map_err(|_negative| broken())?;
                let (unscaled, rest) = rest.split_at_checked(count).ok_or_else(broken)?;
                let (scale, _) = zigzag(rest).ok_or_else(broken)?;
                self.decimal(unscaled, scale)
            }
            Logical::UuidText => {
                let text = self.text()?;
                self.out.text(text)
            }
            Logical::UuidBytes { size } => {
                let bytes = sized(self, size)?;
                match <&[u8; 16]>::try_from(bytes) {
                    Ok(uuid) => self.out.raw(&logical::uuid(uuid)),
                    Err(_) => Err(self.broken("a UUID that does not have 16 bytes")),
                }
            }
            Logical::Date => {
                let days = self.int()?;
                self.out.raw(&logical::date(days))
            }
            Logical::TimeMillis => {
                let time = self.int()?;
                self.out.raw(&logical::time(time.into(), 1_000))
            }
            Logical::TimeMicros => {
                let time = self.long()?;
                self.out.raw(&logical::time(time, 1_000_000))
            }
            Logical::Instant { parts } => {
                let instant = self.long()?;
                self.out.raw(&logical::instant(instant, parts))
            }
            Logical::Local { parts } => {
                let local = self.long()?;
                self.out.raw(&logical::local(local, parts))
            }
            Logical::Duration => {
                let bytes = self.array()?;
                self.out.raw(&logical::duration(bytes))
            }
        }
    }

    fn decimal(&mut self, unscaled: &[u8], scale: i64) -> Result<(), Refused> {
        match logical::decimal(unscaled, scale) {
            Some(number) => self.out.raw(&number),
            None => self.out.hex(unscaled),
        }
    }

    /// How many items come next; none at the end. A negative count has the bytes of the block behind it.
    fn block(&mut self) -> Result<Option<u64>, Refused> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok((count != 0).then_some(count.unsigned_abs()))
    }

    fn index(&mut self) -> Result<Option<usize>, Refused> {
        Ok(usize::try_from(self.long()?).ok())
    }

    fn int(&mut self) -> Result<i32, Refused> {
        let number = self.long()?;
        i32::try_from(number).map_err(|_| self.broken("an int with more than 32 bits"))
    }

    fn long(&mut self) -> Result<i64, Refused> {
        let Some((number, rest)) = zigzag(&self.bytes[self.at..]) else {
            let left = self.bytes.len() - self.at;
            let why = if left < 10 { "they end too early" } else { "a number that does not end" };
            return Err(self.broken(why));
        };
        self.at = self.bytes.len() - rest.len();
        Ok(number)
    }

    fn text(&mut self) -> Result<&'a str, Refused> {
        let at = self.at;
        let bytes = self.counted()?;
        std::str::from_utf8(bytes).map_err(|_not_utf8| Refused::Malformed {
            at: Some(at),
            why: "a text that is no UTF-8".to_owned(),
        })
    }

    fn counted(&mut self) -> Result<&'a [u8], Refused> {
        let count = self.long()?;
        let count = usize::try_from(count).map_err(|_| self.broken("a negative length"))?;
        self.take(count)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_wrong_length| self.broken("they end too early"))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Refused> {
        let bytes: &'a [u8] = self.bytes;
        let end = self.at.checked_add(count).filter(|end| *end <= bytes.len());
        let Some(end) = end else { return Err(self.broken("they end too early")) };
        let taken = &bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn broken(&self, why: impl Into<String>) -> Refused {
        Refused::Malformed { at: Some(self.at), why: why.into() }
    }
}
