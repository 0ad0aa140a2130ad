//! Derives everything from frame.proto: the prost types (zonescope.v1.rs) and the families (families.rs):
//! a table of what each field is, and the code that walks and fills a family's fields by number. recovery.proto gives
//! types only.
//!
//! protox compiles the .proto, so no protoc has to be installed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost_reflect::{Cardinality, DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

const PACKAGE: &str = "zonescope.v1";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=frame.proto");
    println!("cargo:rerun-if-changed=recovery.proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(["frame.proto", "recovery.proto"])?;
    let pool = compiler.descriptor_pool();

    let mut config = prost_build::Config::new();
    config.out_dir(&out);
    config.enable_type_names();
    // Recovered frames are slices of the reply they came in.
    config.bytes([".zonescope.v1.RecoveryReply.frame"]);
    config.compile_fds(compiler.file_descriptor_set())?;

    std::fs::write(out.join("families.rs"), families(&pool)?)?;
    write_descriptor(&out, &compiler)?;
    Ok(())
}

/// The descriptor set, for consumers in other languages and for tests.
fn write_descriptor(out: &Path, compiler: &protox::Compiler) -> std::io::Result<()> {
    std::fs::write(out.join("frame.binpb"), compiler.encode_file_descriptor_set())
}

/// A field of Frame that holds a family.
struct Member {
    field: String,
    message: MessageDescriptor,
    many: bool,
}

fn families(pool: &DescriptorPool) -> Result<String, Box<dyn std::error::Error>> {
    let frame = pool.get_message_by_name(&format!("{PACKAGE}.Frame")).ok_or("no message Frame")?;
    let mut members: Vec<Member> = frame
        .fields()
        .filter_map(|field| {
            let Kind::Message(message) = field.kind() else { return None };
            table(&message)?;
            Some(Member { field: ident(field.name()), many: field.cardinality() == Cardinality::Repeated, message })
        })
        .collect();
    members.sort_by_key(|m| frame.fields().find(|f| ident(f.name()) == m.field).map(|f| f.number()));
    let bucket = pool.get_message_by_name(&format!("{PACKAGE}.Bucket")).ok_or("no message Bucket")?;

    let mut out = String::from("// Derived from frame.proto by build.rs.\n\n");
    for (index, message) in members.iter().map(|m| (&m.message, m.many)).chain([(&bucket, true)]).enumerate() {
        family(&mut out, index, message.0, message.1)?;
    }

    writeln!(out, "/// Every family, in the order of its field in Frame; `distribution` last.")?;
    writeln!(out, "pub static FAMILIES: &[&FamilySpec] = &[")?;
    for message in members.iter().map(|m| &m.message).chain([&bucket]) {
        writeln!(out, "    <v1::{} as Family>::SPEC,", message.name())?;
    }
    writeln!(out, "];\n")?;

    writeln!(out, "pub(crate) fn walk_families<S: Sink + ?Sized>(frame: &v1::Frame, sink: &mut S) {{")?;
    for Member { field, many, .. } in &members {
        if *many {
            writeln!(out, "    for row in &frame.{field} {{ sink.row(row); }}")?;
        } else {
            writeln!(out, "    if let Some(row) = &frame.{field} {{ sink.row(row); }}")?;
        }
    }
    writeln!(out, "}}\n")?;

    writeln!(
        out,
        "pub(crate) fn add_row_to(frame: &mut v1::Frame, family: usize, values: &[Option<Value<'_>>]) -> bool {{"
    )?;
    writeln!(out, "    match family {{")?;
    for (index, Member { field, message, many }) in members.iter().enumerate() {
        let name = message.name();
        if *many {
            writeln!(out, "        {index} => frame.{field}.push(filled::<v1::{name}>(values)),")?;
        } else {
            writeln!(out, "        {index} => frame.{field} = Some(filled::<v1::{name}>(values)),")?;
        }
    }
    writeln!(out, "        _ => return false,\n    }}\n    true\n}}\n")?;

    writeln!(out, "/// The field numbers in Frame of repeated families: what the limit on rows counts.")?;
    let repeated: Vec<u32> =
        frame.fields().filter(|f| f.cardinality() == Cardinality::Repeated).map(|f| f.number()).collect();
    writeln!(out, "pub(crate) const REPEATED: &[u32] = &{repeated:?};")?;
    Ok(out)
}

/// The spec of one family and its `Family` implementation.
fn family(
    out: &mut String,
    index: usize,
    message: &MessageDescriptor,
    many: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let name = message.name();
    let fields: Vec<FieldDescriptor> = message.fields().collect();
    writeln!(out, "impl Family for v1::{name} {{")?;
    writeln!(out, "    const SPEC: &'static FamilySpec = &FamilySpec {{")?;
    writeln!(
        out,
        "        index: {index}, table: {:?}, message: {name:?}, about: {:?}, many: {many},",
        table(message).unwrap_or_default(),
        text(&message.options(), "about")
    )?;
    writeln!(out, "        fields: &[")?;
    for field in &fields {
        writeln!(
            out,
            "            Field {{ name: {:?}, ty: Type::{}, kind: Kind::{}, unit: {:?}, help: {:?}, kstat: {:?}, linux: {:?}, bits: {} }},",
            field.name(),
            type_of(field)?.0,
            kind_of(field)?,
            text(&field.options(), "unit"),
            text(&field.options(), "help"),
            text(&field.options(), "kstat"),
            text(&field.options(), "linux"),
            match option(&field.options(), "bits").and_then(|v| v.as_u32()) {
                Some(bits) if bits > 0 => bits,
                _ => 64,
            },
        )?;
    }
    writeln!(out, "        ],\n    }};\n")?;

    writeln!(out, "    #[inline]\n    fn visit<V: Visitor + ?Sized>(&self, visitor: &mut V) {{")?;
    for (i, field) in fields.iter().enumerate() {
        let (ty, _) = type_of(field)?;
        let member = ident(field.name());
        let optional = field.supports_presence();
        let value = match (ty, optional) {
            ("Text", true) => format!("self.{member}.as_deref().map(Value::Text)"),
            ("Text", false) => format!("Some(Value::Text(&self.{member}))"),
            (ty, true) => format!("self.{member}.map(Value::{ty})"),
            (ty, false) => format!("Some(Value::{ty}(self.{member}))"),
        };
        writeln!(out, "        visitor.value({i}, {value});")?;
    }
    writeln!(out, "    }}\n")?;

    writeln!(out, "    fn set(&mut self, index: usize, value: Value<'_>) -> bool {{\n        match (index, value) {{")?;
    for (i, field) in fields.iter().enumerate() {
        let (ty, _) = type_of(field)?;
        let member = ident(field.name());
        let value = if ty == "Text" { "v.to_owned()" } else { "v" };
        let value = if field.supports_presence() { format!("Some({value})") } else { value.to_owned() };
        writeln!(out, "            ({i}, Value::{ty}(v)) => self.{member} = {value},")?;
    }
    writeln!(out, "            _ => return false,\n        }}\n        true\n    }}\n}}\n")?;
    Ok(())
}

fn table(message: &MessageDescriptor) -> Option<String> {
    Some(text(&message.options(), "table")).filter(|t| !t.is_empty())
}

fn option(options: &prost_reflect::DynamicMessage, name: &str) -> Option<Value> {
    options.extensions().find(|(descriptor, _)| descriptor.name() == name).map(|(_, value)| value.clone())
}

fn text(options: &prost_reflect::DynamicMessage, name: &str) -> String {
    option(options, name).and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn kind_of(field: &FieldDescriptor) -> Result<&'static str, String> {
    let number = option(&field.options(), "kind").and_then(|v| v.as_enum_number()).unwrap_or_default();
    let kind = match number {
        1 => "Label",
        2 => "Gauge",
        3 => "Counter",
        4 => "Delta",
        5 => "State",
        _ => return Err(format!("{}: the option (kind) is missing", field.full_name())),
    };
    if (kind == "Label") == field.supports_presence() {
        return Err(format!("{}: a label is always there, everything else is `optional`", field.full_name()));
    }
    if text(&field.options(), "help").is_empty() {
        return Err(format!("{}: the option (help) is missing", field.full_name()));
    }
    Ok(kind)
}

fn type_of(field: &FieldDescriptor) -> Result<(&'static str, &'static str), String> {
    Ok(match field.kind() {
        Kind::Uint64 | Kind::Fixed64 => ("Uint", "u64"),
        Kind::Sint64 | Kind::Int64 | Kind::Sfixed64 => ("Int", "i64"),
        Kind::Double => ("Double", "f64"),
        Kind::String => ("Text", "String"),
        other => return Err(format!("{}: a family cannot hold {other:?}", field.full_name())),
    })
}

/// The Rust name that prost gives a field.
fn ident(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        let previous = name[..i].chars().next_back();
        if c.is_ascii_uppercase() && previous.is_some_and(|p| p.is_ascii_lowercase() || p.is_ascii_digit()) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
