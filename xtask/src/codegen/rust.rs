//! Rust from definitions: structs, their codec, and samples of them.

use std::fmt::Write as _;

use anyhow::Result;

use super::HEADER;
use super::definition::{Api, Field, Struct, Type, Versions, struct_of};

impl Type {
    fn rust(&self) -> String {
        match self {
            Self::Scalar(name) | Self::Struct(name) => name.clone(),
            Self::Uuid => "[u8; 16]".into(),
            Self::String => "String".into(),
            Self::Bytes => "Bytes".into(),
            Self::Pieces => "Pieces".into(),
            Self::List(element) => format!("Vec<{}>", element.rust()),
        }
    }

    /// The reader's and writer's method for this type.
    fn method(&self) -> &str {
        match self {
            Self::Scalar(name) => name,
            Self::Uuid => "uuid",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Pieces => "pieces",
            Self::List(_) => "list",
            Self::Struct(_) => "decode",
        }
    }

    fn read(&self, prefix: &str) -> String {
        match self {
            Self::Struct(_) if !prefix.is_empty() => format!("r.{prefix}struct(version)?"),
            Self::Struct(name) => format!("{name}::decode(r, version)?"),
            Self::List(_) => format!("r.{prefix}list(version)?"),
            _ => format!("r.{prefix}{}()?", self.method()),
        }
    }

    /// Writes `value`, an expression of the type that the method wants.
    fn write(&self, prefix: &str, value: &str) -> String {
        match self {
            Self::Struct(_) if !prefix.is_empty() => {
                format!("w.{prefix}struct({value}, version);")
            }
            Self::Struct(_) => format!("{value}.encode(w, version);"),
            Self::List(_) => format!("w.{prefix}list({value}, version);"),
            _ => format!("w.{prefix}{}({value});", self.method()),
        }
    }

    /// The smallest encoding in `version`.
    fn bytes_min(&self, api: &Api, version: i16) -> Result<usize> {
        let flexible = version >= api.flexible_since;
        Ok(match self {
            Self::Scalar(name) => match name.as_str() {
                "bool" => 1,
                name => name[1..].parse::<usize>()? / 8,
            },
            Self::Uuid => 16,
            Self::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Self::Bytes | Self::Pieces | Self::List(_) => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Self::Struct(name) => struct_bytes_min(api, api.find(name)?, version)?,
        })
    }
}

fn struct_bytes_min(api: &Api, this: &Struct, version: i16) -> Result<usize> {
    let mut bytes = usize::from(version >= api.flexible_since);
    for field in &this.fields {
        if field.tag.is_none() && field.versions.has(version) {
            bytes += field.bytes_min(api, version)?;
        }
    }
    Ok(bytes)
}

impl Field {
    /// Whether its presence, its nullability or a struct in it differs between versions.
    fn depends_on_version(&self, api: &Api) -> bool {
        self.versions.condition(api.versions).is_some()
            || self.null.is_some_and(|null| null.condition(self.versions).is_some())
            || struct_of(&self.kind).is_some()
    }

    /// The smallest encoding in `version`, in which the field exists.
    fn bytes_min(&self, api: &Api, version: i16) -> Result<usize> {
        match (&self.kind, self.null) {
            (Type::Struct(_), Some(null)) if null.has(version) => Ok(1),
            (kind, _) => kind.bytes_min(api, version),
        }
    }

    fn rust_type(&self) -> String {
        match self.null {
            Some(_) => format!("Option<{}>", self.kind.rust()),
            None => self.kind.rust(),
        }
    }

    fn default(&self) -> String {
        match (&self.default, &self.null, &self.kind) {
            (Some(value), ..) if value == "2147483647" => "i32::MAX".into(),
            (Some(value), ..) if value == "-2147483648" => "i32::MIN".into(),
            (Some(value), ..) => value.clone(),
            (None, Some(_), _) => "None".into(),
            (None, None, Type::Scalar(name)) if name == "bool" => "false".into(),
            (None, None, Type::Scalar(_)) => "0".into(),
            (None, None, Type::Uuid) => "[0; 16]".into(),
            (None, None, Type::List(_)) => "Vec::new()".into(),
            (None, None, kind) => match kind {
                Type::Struct(name) => format!("{name}::default()"),
                _ => format!("{}::new()", kind.rust()),
            },
        }
    }

    fn read(&self) -> String {
        match self.null {
            None => self.kind.read(""),
            Some(null) => match null.condition(self.versions) {
                None => self.kind.read("nullable_"),
                Some(condition) => format!(
                    "if {condition} {{ {} }} else {{ Some({}) }}",
                    self.kind.read("nullable_"),
                    self.kind.read("")
                ),
            },
        }
    }

    fn write(&self) -> String {
        let name = &self.name;
        let Some(null) = self.null else {
            let by_value = matches!(self.kind, Type::Scalar(_) | Type::Struct(_));
            let reference = if by_value { "" } else { "&" };
            return self.kind.write("", &format!("{reference}self.{name}"));
        };
        let whole = matches!(self.kind, Type::Bytes | Type::Pieces | Type::Struct(_));
        let view = if whole { "as_ref" } else { "as_deref" };
        let nullable = self.kind.write("nullable_", &format!("self.{name}.{view}()"));
        match null.condition(self.versions) {
            None => nullable,
            Some(condition) => format!(
                "if {condition} {{ {nullable} }} else if let Some(value) = \
                 w.not_null(self.{name}.{view}(), \"{name}\", version) {{ {} }}",
                self.kind.write("", "value")
            ),
        }
    }
}

pub(super) fn root_module(apis: &[Api]) -> String {
    let mut code = format!("{HEADER}//! One module per API, and the list of them.\n\n");
    for api in apis {
        let _ = writeln!(code, "pub mod {};", api.module);
    }
    code += "#[cfg(feature = \"samples\")]\nmod samples;\n\n";
    code += "/// Every API, by key.\npub const APIS: &[crate::Api] = &[\n";
    for api in apis {
        let _ = writeln!(code, "{}::API,", api.module);
    }
    code += "];\n\n/// Calls a macro with the modules of every API, by key.\n#[macro_export]\n";
    code += "macro_rules! every_api { ($then:ident) => { $then! { ";
    code += &apis.iter().map(|api| api.module.as_str()).collect::<Vec<_>>().join(", ");
    code += " } }; }\n";
    code
}

pub(super) fn api_module(api: &Api) -> Result<String> {
    let Api { name, key, about, versions: Versions { first, last }, flexible_since, .. } = api;
    let mut code = format!("{HEADER}//! {name}: {about}\n\n");
    let uses =
        |kind| api.structs.iter().flat_map(|this| &this.fields).any(|field| field.kind == kind);
    if uses(Type::Bytes) {
        code += "use bytes::Bytes;\n\n";
    }
    let uses_tags = api.structs.iter().flat_map(|this| &this.fields).any(|f| f.tag.is_some());
    let tags = if uses_tags { "Tags, " } else { "" };
    let pieces = if uses(Type::Pieces) { "Pieces, " } else { "" };
    let throttled = |this: &Struct| {
        this.name == "Response" && this.fields.iter().any(|field| field.name == "throttle_time_ms")
    };
    let throttle = if api.structs.iter().any(throttled) {
        "fn set_throttle(response: &mut Response, ms: i32) { response.throttle_time_ms = ms; } "
    } else {
        ""
    };
    let _ = write!(
        code,
        "use crate::{{Api, DecodeError, {pieces}Reader, {tags}Wire, Writer}};\n\n\
         pub const API: Api = Api {{ key: {key}, name: \"{name}\", version_min: {first}, \
         version_max: {last}, flexible_since: {flexible_since} }};\n\n\
         impl crate::Request for Request {{ const API: Api = API; type Response = Response; \
         {throttle}}}\n"
    );
    for this in &api.structs {
        define(&mut code, api, this);
        implement(&mut code, api, this)?;
    }
    Ok(code)
}

fn define(code: &mut String, api: &Api, this: &Struct) {
    let natural = this.fields.iter().all(|field| field.default.is_none());
    let default = if natural { ", Default" } else { "" };
    let eq = if api.has_floats() { "" } else { ", Eq" };
    let _ = writeln!(code, "\n#[derive(Clone, Debug{default}, PartialEq{eq})]");
    let _ = writeln!(code, "pub struct {} {{", this.name);
    for field in &this.fields {
        let Versions { first, last } = field.versions;
        let only = match (first > api.versions.first, last < api.versions.last) {
            (false, false) => None,
            (true, false) => Some(format!("Since version {first}.")),
            (false, true) => Some(format!("Until version {last}.")),
            (true, true) => Some(format!("Versions {first} to {last}.")),
        };
        let text = field.text.as_ref().map(|text| {
            let mut letters = text.chars();
            letters.next().map(|c| format!("{}{}.", c.to_uppercase(), letters.as_str()))
        });
        let lines: Vec<String> = text.flatten().into_iter().chain(only).collect();
        if !lines.is_empty() {
            let _ = writeln!(code, "/// {}", lines.join(" "));
        }
        let _ = writeln!(code, "pub {}: {},", field.name, field.rust_type());
    }
    code.push_str("}\n");
    if natural {
        return;
    }
    let _ = write!(code, "\nimpl Default for {} {{ fn default() -> Self {{ Self {{", this.name);
    for field in &this.fields {
        let _ = write!(code, "{}: {},", field.name, field.default());
    }
    code.push_str("} } }\n");
}

fn implement(code: &mut String, api: &Api, this: &Struct) -> Result<()> {
    let (plain, tagged): (Vec<_>, Vec<_>) = this.fields.iter().partition(|f| f.tag.is_none());
    let mut bytes_min = usize::MAX;
    for version in api.versions.first..=api.versions.last {
        bytes_min = bytes_min.min(struct_bytes_min(api, this, version)?);
    }
    let by_version = this
        .fields
        .iter()
        .any(|field| field.depends_on_version(api) || matches!(field.kind, Type::List(_)));
    let version = if by_version { "version" } else { "_version" };
    let _ = write!(
        code,
        "\nimpl Wire for {} {{\nconst BYTES_MIN: usize = {};\n\
         fn decode(r: &mut Reader, {version}: i16) -> Result<Self, DecodeError> {{\n",
        this.name,
        // A request of nothing but its header is never an element of a list.
        bytes_min.max(1),
    );
    let mutable = if tagged.is_empty() { "" } else { "mut " };
    let _ = writeln!(code, "let {mutable}value = Self {{");
    for field in &this.fields {
        let value = match (field.tag, field.versions.condition(api.versions)) {
            (Some(_), _) => field.default(),
            (None, None) => field.read(),
            (None, Some(condition)) => {
                format!("if {condition} {{ {} }} else {{ {} }}", field.read(), field.default())
            }
        };
        let _ = writeln!(code, "{}: {value},", field.name);
    }
    code.push_str("};\n");
    if tagged.is_empty() {
        code.push_str("r.skip_tags()?;\n");
    } else {
        code.push_str("r.tags(|r, tag| { match tag {\n");
        for field in &tagged {
            let guard = match field.versions.condition(api.versions) {
                Some(condition) if field.versions.first > api.flexible_since => {
                    format!(" if {condition}")
                }
                _ => String::new(),
            };
            let tag = field.tag.unwrap_or_default();
            let _ = writeln!(code, "{tag}{guard} => value.{} = {},", field.name, field.read());
        }
        code.push_str("_ => return Ok(false), } Ok(true) })?;\n");
    }
    let _ = write!(code, "Ok(value)\n}}\n\nfn encode(&self, w: &mut Writer, {version}: i16) {{\n");
    for field in &plain {
        let write = field.write();
        let _ = match field.versions.condition(api.versions) {
            None => writeln!(code, "{write}"),
            Some(condition) => writeln!(code, "if {condition} {{ {write} }}"),
        };
    }
    write_tags(code, api, &tagged);
    code.push_str("}\n}\n");
    Ok(())
}

fn write_tags(code: &mut String, api: &Api, tagged: &[&Field]) {
    if tagged.is_empty() {
        code.push_str("w.no_tags();\n");
        return;
    }
    code.push_str("let mut tags = Tags::new();\n");
    for field in tagged {
        let unlike = match &field.kind {
            Type::List(_) => format!("!self.{}.is_empty()", field.name),
            Type::Scalar(name) if name == "bool" => format!("self.{}", field.name),
            _ if field.null.is_some() => format!("self.{}.is_some()", field.name),
            _ => format!("self.{} != {}", field.name, field.default()),
        };
        let also = match field.versions.condition(api.versions) {
            Some(condition) if field.versions.first > api.flexible_since => {
                format!("{condition} && ")
            }
            _ => String::new(),
        };
        let tag = field.tag.unwrap_or_default();
        let write = field.write();
        let _ = writeln!(code, "if {also}{unlike} {{ tags.field({tag}, |w| {{ {write} }}); }}");
    }
    code.push_str("w.tags(tags);\n");
}

pub(super) fn samples_module(apis: &[Api]) -> Result<String> {
    let mut code = format!("{HEADER}//! Arbitrary values of every message.\n\n");
    code += "use crate::sample::{Sample, Source};\n";
    for api in apis {
        for this in &api.structs {
            let mut fields = String::new();
            for field in &this.fields {
                let condition = field.versions.condition(api.versions);
                let value = sample_field(field, &api.module);
                let _ = match condition {
                    None => writeln!(fields, "{}: {value},", field.name),
                    Some(condition) => writeln!(
                        fields,
                        "{}: if {condition} {{ {value} }} else {{ {} }},",
                        field.name,
                        qualified_default(field, &api.module)
                    ),
                };
            }
            let by_version = this.fields.iter().any(|field| field.depends_on_version(api));
            let version = if by_version { "version" } else { "_version" };
            let s = if this.fields.is_empty() { "_s" } else { "s" };
            let _ = write!(
                code,
                "\nimpl Sample for crate::{}::{} {{ \
                 fn sample({s}: &mut Source, {version}: i16) -> Self {{ Self {{ {fields} }} }} }}\n",
                api.module, this.name
            );
        }
    }
    Ok(code)
}

fn qualified_default(field: &Field, module: &str) -> String {
    match (&field.kind, &field.default) {
        (Type::Struct(name), None) => format!("crate::{module}::{name}::default()"),
        (Type::Bytes, None) if field.null.is_none() => "bytes::Bytes::new()".into(),
        _ => field.default(),
    }
}

fn sample_field(field: &Field, module: &str) -> String {
    let value = sample_type(&field.kind, module);
    match field.null {
        None => value,
        Some(null) => {
            let allowed = null.condition(field.versions).unwrap_or_else(|| "true".into());
            format!("s.nullable({allowed}, |s| {value})")
        }
    }
}

fn sample_type(kind: &Type, module: &str) -> String {
    match kind {
        Type::Struct(name) => format!("crate::{module}::{name}::sample(s, version)"),
        Type::List(element) => format!("s.list(|s| {})", sample_type(element, module)),
        _ => format!("s.{}()", kind.method()),
    }
}
