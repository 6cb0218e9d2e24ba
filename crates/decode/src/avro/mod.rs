//! Avro: a schema as a tree, and bytes by it.
//!
//! The library reads the schema. The bytes are read here ([`read`]), because its reader takes bytes that end too early for nulls,
//! and makes a value of forty bytes of what may be none in the message: an array of nulls of any length is two bytes.

mod logical;
mod read;

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, Name, NamespaceRef, UuidSchema};

use crate::Refused;
use crate::refused::reason;
use crate::schemas::Source;

type Id = usize;

/// A schema, its names resolved.
#[derive(Debug)]
pub(crate) struct Avro {
    nodes: Vec<Node>,
    root: Id,
    type_name: Option<String>,
}

#[derive(Debug)]
enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    /// Its symbols.
    Enum(Vec<String>),
    Array(Id),
    Map(Id),
    Union(Vec<Id>),
    /// Names and types of its fields.
    Record(Vec<(String, Id)>),
    /// The same as another one.
    Same(Id),
    Logical(Logical),
}

/// What is more than its type. Those with a size are fixed, others bytes or texts.
#[derive(Clone, Copy, Debug)]
enum Logical {
    Decimal {
        scale: usize,
        size: Option<usize>,
    },
    BigDecimal,
    UuidText,
    UuidBytes {
        size: Option<usize>,
    },
    Date,
    /// Of day, in parts of a second.
    TimeMillis,
    TimeMicros,
    /// Since the epoch, in parts of a second.
    Instant {
        parts: i64,
    },
    Local {
        parts: i64,
    },
    Duration,
}

impl Avro {
    pub(crate) fn compile(source: &Source) -> Result<Self, Refused> {
        let mut texts: Vec<&str> = Vec::new();
        for (_, text) in &source.references {
            // The same schema may be referred to by several names.
            if !texts.contains(&text.as_str()) {
                texts.push(text);
            }
        }
        let (main, others) = Schema::parse_str_with_list(&source.text, texts)
            .map_err(|error| Refused::InvalidSchema(reason(&error)))?;
        let type_name = main.name().map(|name| name.fullname(None));
        let mut tree = Tree::default();
        for other in &others {
            tree.add(other, None);
        }
        let root = tree.add(&main, None);
        Ok(Self { nodes: tree.resolved()?, root, type_name })
    }

    /// Of a record, enum or fixed.
    pub(crate) fn type_name(&self) -> Option<&str> {
        self.type_name.as_deref()
    }

    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<String, Refused> {
        read::read(&self.nodes, self.root, bytes)
    }
}

#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    names: HashMap<String, Id>,
    /// Nodes that are others by their names.
    refs: Vec<(Id, String)>,
}

impl Tree {
    /// A name without a namespace is of the one around it. JSON does not nest deeper than the stack.
    fn add(&mut self, schema: &Schema, namespace: NamespaceRef<'_>) -> Id {
        let id = self.nodes.len();
        self.nodes.push(Node::Null);
        let named = |name: &Name| name.fully_qualified_name(namespace).into_owned();
        let mut name = |name: &Name| {
            let name = named(name);
            self.names.entry(name.fullname(None)).or_insert(id);
            name
        };
        let logical = Node::Logical;
        let node = match schema {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int => Node::Int,
            Schema::Long => Node::Long,
            Schema::Float => Node::Float,
            Schema::Double => Node::Double,
            Schema::Bytes => Node::Bytes,
            Schema::String => Node::String,
            Schema::Fixed(fixed) => {
                name(&fixed.name);
                Node::Fixed(fixed.size)
            }
            Schema::Enum(its) => {
                name(&its.name);
                Node::Enum(its.symbols.clone())
            }
            Schema::Record(record) => {
                let within = name(&record.name);
                let field = |field: &apache_avro::schema::RecordField| {
                    (field.name.clone(), self.add(&field.schema, within.namespace()))
                };
                Node::Record(record.fields.iter().map(field).collect())
            }
            Schema::Array(array) => Node::Array(self.add(&array.items, namespace)),
            Schema::Map(map) => Node::Map(self.add(&map.types, namespace)),
            Schema::Union(union) => {
                let variants = union.variants().iter();
                Node::Union(variants.map(|variant| self.add(variant, namespace)).collect())
            }
            Schema::Ref { name } => {
                self.refs.push((id, named(name).fullname(None)));
                Node::Null
            }
            Schema::Decimal(decimal) => {
                let size = match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => {
                        name(&fixed.name);
                        Some(fixed.size)
                    }
                };
                logical(Logical::Decimal { scale: decimal.scale, size })
            }
            Schema::BigDecimal => logical(Logical::BigDecimal),
            Schema::Uuid(UuidSchema::String) => logical(Logical::UuidText),
            Schema::Uuid(UuidSchema::Bytes) => logical(Logical::UuidBytes { size: None }),
            Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                name(&fixed.name);
                logical(Logical::UuidBytes { size: Some(fixed.size) })
            }
            Schema::Duration(fixed) => {
                name(&fixed.name);
                logical(Logical::Duration)
            }
            Schema::Date => logical(Logical::Date),
            Schema::TimeMillis => logical(Logical::TimeMillis),
            Schema::TimeMicros => logical(Logical::TimeMicros),
            Schema::TimestampMillis => logical(Logical::Instant { parts: 1_000 }),
            Schema::TimestampMicros => logical(Logical::Instant { parts: 1_000_000 }),
            Schema::TimestampNanos => logical(Logical::Instant { parts: 1_000_000_000 }),
            Schema::LocalTimestampMillis => logical(Logical::Local { parts: 1_000 }),
            Schema::LocalTimestampMicros => logical(Logical::Local { parts: 1_000_000 }),
            Schema::LocalTimestampNanos => logical(Logical::Local { parts: 1_000_000_000 }),
        };
        self.nodes[id] = node;
        id
    }

    fn resolved(mut self) -> Result<Vec<Node>, Refused> {
        for (id, name) in self.refs {
            let Some(meant) = self.names.get(&name) else {
                return Err(Refused::InvalidSchema(format!("there is no type {name}")));
            };
            self.nodes[id] = Node::Same(*meant);
        }
        Ok(self.nodes)
    }
}
