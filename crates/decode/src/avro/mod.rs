//! Avro: a schema as a tree, and bytes by it.
//!
//! The library reads the schema. The bytes are read here ([`read`]), because its reader takes bytes that end too early for nulls,
//! and makes a value of forty bytes of what may be none in the message: an array of nulls of any length is two bytes.

mod logical;
mod read;

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{
    DecimalSchema, InnerDecimalSchema, Name, NamespaceRef, RecordField, UuidSchema,
};

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
        let full = |name: &Name| name.fully_qualified_name(namespace).into_owned();
        let name = own_name(schema).map(full);
        if let Some(name) = &name {
            self.names.entry(name.fullname(None)).or_insert(id);
        }
        self.nodes[id] = match schema {
            Schema::Record(record) => {
                let within = name.as_ref().and_then(Name::namespace);
                let field =
                    |field: &RecordField| (field.name.clone(), self.add(&field.schema, within));
                Node::Record(record.fields.iter().map(field).collect())
            }
            Schema::Array(array) => Node::Array(self.add(&array.items, namespace)),
            Schema::Map(map) => Node::Map(self.add(&map.types, namespace)),
            Schema::Union(union) => {
                let variants = union.variants().iter();
                Node::Union(variants.map(|variant| self.add(variant, namespace)).collect())
            }
            Schema::Ref { name } => {
                self.refs.push((id, full(name).fullname(None)));
                Node::Null
            }
            leaf => simple(leaf),
        };
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

/// The name that others may call it by.
fn own_name(schema: &Schema) -> Option<&Name> {
    match schema {
        Schema::Record(record) => Some(&record.name),
        Schema::Enum(its) => Some(&its.name),
        Schema::Fixed(fixed)
        | Schema::Duration(fixed)
        | Schema::Uuid(UuidSchema::Fixed(fixed))
        | Schema::Decimal(DecimalSchema { inner: InnerDecimalSchema::Fixed(fixed), .. }) => {
            Some(&fixed.name)
        }
        _ => None,
    }
}

/// Of a schema with no other within.
fn simple(schema: &Schema) -> Node {
    let logical = match schema {
        Schema::Boolean => return Node::Boolean,
        Schema::Int => return Node::Int,
        Schema::Long => return Node::Long,
        Schema::Float => return Node::Float,
        Schema::Double => return Node::Double,
        Schema::Bytes => return Node::Bytes,
        Schema::String => return Node::String,
        Schema::Fixed(fixed) => return Node::Fixed(fixed.size),
        Schema::Enum(its) => return Node::Enum(its.symbols.clone()),
        Schema::Decimal(decimal) => {
            let size = match &decimal.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
            };
            Logical::Decimal { scale: decimal.scale, size }
        }
        Schema::BigDecimal => Logical::BigDecimal,
        Schema::Uuid(UuidSchema::String) => Logical::UuidText,
        Schema::Uuid(UuidSchema::Bytes) => Logical::UuidBytes { size: None },
        Schema::Uuid(UuidSchema::Fixed(fixed)) => Logical::UuidBytes { size: Some(fixed.size) },
        Schema::Duration(_) => Logical::Duration,
        Schema::Date => Logical::Date,
        Schema::TimeMillis => Logical::TimeMillis,
        Schema::TimeMicros => Logical::TimeMicros,
        Schema::TimestampMillis => Logical::Instant { parts: 1_000 },
        Schema::TimestampMicros => Logical::Instant { parts: 1_000_000 },
        Schema::TimestampNanos => Logical::Instant { parts: 1_000_000_000 },
        Schema::LocalTimestampMillis => Logical::Local { parts: 1_000 },
        Schema::LocalTimestampMicros => Logical::Local { parts: 1_000_000 },
        Schema::LocalTimestampNanos => Logical::Local { parts: 1_000_000_000 },
        // Those with others within are not asked for.
        Schema::Null | Schema::Record(_) | Schema::Array(_) | Schema::Map(_) => return Node::Null,
        Schema::Union(_) | Schema::Ref { .. } => return Node::Null,
    };
    Node::Logical(logical)
}
