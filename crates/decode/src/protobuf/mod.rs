//! Protobuf: a `.proto` file with its imports, compiled, and messages by it.

mod imports;

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, MessageDescriptor};
use prost_reflect::{ReflectMessage, SerializeOptions, Value};
use protox::Compiler;
use protox::file::File;

use crate::Refused;
use crate::json::Json;
use crate::limits::{PROTO_NESTING_MAX, VALUE_DEPTH_MAX};
use crate::refused::reason;
use crate::schemas::Source;

const ANY: &str = "google.protobuf.Any";
/// What the file itself is called; no import can have this name.
const MAIN: &str = "\u{1}";

/// A file that has been compiled.
#[derive(Debug)]
pub(crate) struct Protobuf {
    file: FileDescriptor,
    has_any: bool,
}

/// What bytes are by it.
pub(crate) struct Message {
    pub(crate) type_name: String,
    /// Fields of the outermost message that the schema does not have.
    pub(crate) unknown_fields: usize,
    pub(crate) json: Result<String, Refused>,
}

impl Protobuf {
    pub(crate) fn compile(source: &Source) -> Result<Self, Refused> {
        let mut files = HashMap::new();
        files.insert(MAIN.to_owned(), parsed(MAIN, &source.text)?);
        for (name, text) in &source.references {
            if !files.contains_key(name) {
                files.insert(name.clone(), parsed(name, text)?);
            }
        }
        let invalid = |error: protox::Error| Refused::InvalidSchema(reason(&error));
        let mut compiler = Compiler::with_file_resolver(imports::Imports { files });
        compiler.open_file(MAIN).map_err(invalid)?;
        let pool: DescriptorPool = compiler.descriptor_pool();
        let has_any = pool.get_message_by_name(ANY).is_some();
        let file = pool.get_file_by_name(MAIN);
        let file = file.ok_or_else(|| Refused::InvalidSchema("it is empty".to_owned()))?;
        Ok(Self { file, has_any })
    }

    /// The message at these places. Clients do not agree whether the entries of maps, which are messages too, count:
    /// Java's leaves them out, Python's and Go's do not. Of the two that may be meant it is the one whose fields are known.
    pub(crate) fn decode(&self, places: &[usize], bytes: &[u8]) -> Result<Message, Refused> {
        let without_entries = self.message(places, |message| !message.is_map_entry());
        let with_entries = self.message(places, |_| true).filter(|message| !message.is_map_entry());
        let candidates = match (without_entries, with_entries) {
            (Some(one), Some(other)) if one == other => [Some(one), None],
            both => [both.0, both.1],
        };
        let decoded = candidates.into_iter().flatten().map(|message| self.read(&message, bytes));
        let best = decoded.min_by_key(|read| (read.json.is_err(), read.unknown_fields));
        best.ok_or_else(|| Refused::Malformed {
            at: None,
            why: format!("the schema has no message at {places:?}"),
        })
    }

    fn message(
        &self,
        places: &[usize],
        counts: impl Fn(&MessageDescriptor) -> bool,
    ) -> Option<MessageDescriptor> {
        let (first, rest) = places.split_first()?;
        let mut message = self.file.messages().nth(*first)?;
        for place in rest {
            let child = message.child_messages().filter(|child| counts(child)).nth(*place)?;
            message = child;
        }
        Some(message)
    }

    fn read(&self, message: &MessageDescriptor, bytes: &[u8]) -> Message {
        let type_name = message.full_name().to_owned();
        let malformed = |why| Refused::Malformed { at: None, why };
        let read = match DynamicMessage::decode(message.clone(), bytes) {
            Ok(read) => read,
            Err(error) => {
                let json = Err(malformed(reason(&error)));
                return Message { type_name, unknown_fields: 0, json };
            }
        };
        let unknown_fields = read.unknown_fields().count();
        let json = if self.has_any { nests(&read, 0) } else { Ok(()) };
        let json = json.and_then(|()| {
            let options =
                SerializeOptions::new().stringify_64_bit_integers(false).skip_default_fields(false);
            let mut json = Json::default();
            let mut serializer = serde_json::Serializer::new(&mut json);
            match read.serialize_with_options(&mut serializer, &options) {
                Ok(()) => Ok(json.finish()),
                Err(error) if error.is_io() => Err(Refused::JsonTooLong),
                Err(error) => Err(malformed(reason(&error))),
            }
        });
        Message { type_name, unknown_fields, json }
    }
}

/// A text in Protobuf's language, or a file descriptor in base64, which some clients register.
fn parsed(name: &str, text: &str) -> Result<File, Refused> {
    let mut described = STANDARD.decode(text.trim()).ok();
    if let Some(bytes) = described.take()
        && let Ok(mut descriptor) =
            <prost_reflect::prost_types::FileDescriptorProto as prost_reflect::prost::Message>::decode(
                bytes.as_slice(),
            )
    {
        descriptor.name = Some(name.to_owned());
        return Ok(File::from_file_descriptor_proto(descriptor));
    }
    if nesting(text) > PROTO_NESTING_MAX {
        let why = format!("its brackets nest more than {PROTO_NESTING_MAX} deep");
        return Err(Refused::InvalidSchema(why));
    }
    File::from_source(name, text).map_err(|error| Refused::InvalidSchema(reason(&error)))
}

/// How deep brackets nest; those in texts and comments count as well.
fn nesting(text: &str) -> usize {
    let mut open = 0_usize;
    let depths = text.bytes().map(|sign| {
        match sign {
            b'{' | b'[' | b'(' | b'<' => open += 1,
            b'}' | b']' | b')' | b'>' => open = open.saturating_sub(1),
            _ => {}
        }
        open
    });
    depths.max().unwrap_or(0)
}

/// The decoder bounds how deep messages nest, but what stands in an `Any` is bytes to it, which are decoded when they are
/// written: those of it are looked into before.
fn nests(message: &DynamicMessage, depth: usize) -> Result<(), Refused> {
    if depth > VALUE_DEPTH_MAX {
        return Err(Refused::TooDeep);
    }
    let descriptor = message.descriptor();
    if descriptor.full_name() == ANY {
        let url = message.get_field_by_name("type_url");
        let name = url.as_deref().and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
        let within = name.and_then(|name| descriptor.parent_pool().get_message_by_name(name));
        let bytes = message.get_field_by_name("value");
        if let Some((within, bytes)) = within.zip(bytes.as_deref().and_then(Value::as_bytes))
            && let Ok(within) = DynamicMessage::decode(within, bytes.as_ref())
        {
            return nests(&within, depth + 1);
        }
        // The writer says what is wrong with it.
        return Ok(());
    }
    message.fields().try_for_each(|(_, value)| each(value, depth))
}

fn each(value: &Value, depth: usize) -> Result<(), Refused> {
    match value {
        Value::Message(message) => nests(message, depth + 1),
        Value::List(values) => values.iter().try_for_each(|value| each(value, depth)),
        Value::Map(values) => values.values().try_for_each(|value| each(value, depth)),
        _ => Ok(()),
    }
}
