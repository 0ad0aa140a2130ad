//! What a table looks like: its columns, and what is known of each.
//!
//! A table is made from a family of frame.proto, from rows that users defined, or from the metadata of a Parquet
//! file; after that nobody asks which. Every table begins with the [`COMMON`] columns. What frame.proto says of a
//! field (kind, unit, help, width) is in the metadata of its Arrow field. A Parquet file has that only if it is of rows that
//! users defined: of a family everyone finds it in frame.proto.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef, TimeUnit};
use zonescope_proto::{FAMILIES, FamilySpec, Field, Kind, Type};

/// The columns that every table begins with.
pub const COMMON: [&str; 4] = ["host", "zone", "zone_id", "time"];
/// Place of `host`.
pub const HOST: usize = 0;
/// Place of `zone`.
pub const ZONE: usize = 1;
/// Place of `zone_id`.
pub const ZONE_ID: usize = 2;
/// Place of `time`.
pub const TIME: usize = 3;

/// Views are not tables on disk; users' own tables may not take their names.
pub const VIEWS: [&str; 2] = ["rates", "use"];
/// What the name of a family's view of rates ends in.
pub const RATES_SUFFIX: &str = "_rates";

/// One column beyond the common ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name: the field's, exactly.
    pub name: Cow<'static, str>,
    /// The type of its values.
    pub ty: Type,
    /// What its values are.
    pub kind: Kind,
    /// The unit of its values; empty where there is none.
    pub unit: Cow<'static, str>,
    /// What it says.
    pub help: Cow<'static, str>,
    /// Width of a counter: it wraps at 2^bits.
    pub bits: u32,
}

impl From<&'static Field> for Column {
    fn from(f: &'static Field) -> Self {
        let Field { name, ty, kind, unit, help, bits, .. } = *f;
        Column { name: name.into(), ty, kind, unit: unit.into(), help: help.into(), bits }
    }
}

impl Column {
    /// The column as Arrow sees it. Only a family's labels are always there.
    fn to_arrow(&self, nullable: bool) -> ArrowField {
        let metadata = [
            ("kind", self.kind.name().to_owned()),
            ("unit", self.unit.to_string()),
            ("help", self.help.to_string()),
            ("bits", self.bits.to_string()),
        ];
        let metadata: HashMap<String, String> =
            metadata.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v)).collect();
        ArrowField::new(self.name.as_ref(), data_type(self.ty), nullable).with_metadata(metadata)
    }

    /// The column that a file has. `None` for a type that we never write.
    pub fn of_arrow(field: &ArrowField) -> Option<Self> {
        let text = |key: &str| field.metadata().get(key).cloned().unwrap_or_default();
        Some(Column {
            name: field.name().clone().into(),
            ty: match field.data_type() {
                DataType::UInt64 => Type::Uint,
                DataType::Int64 => Type::Int,
                DataType::Float64 => Type::Double,
                DataType::Utf8 => Type::Text,
                _ => return None,
            },
            kind: kind_named(&text("kind")),
            unit: text("unit").into(),
            help: text("help").into(),
            bits: text("bits").parse().unwrap_or(64),
        })
    }
}

fn kind_named(name: &str) -> Kind {
    [Kind::Label, Kind::Counter, Kind::Delta, Kind::State].into_iter().find(|k| k.name() == name).unwrap_or(Kind::Gauge)
}

/// The Arrow type of a field's values.
pub fn data_type(ty: Type) -> DataType {
    match ty {
        Type::Uint => DataType::UInt64,
        Type::Int => DataType::Int64,
        Type::Double => DataType::Float64,
        Type::Text => DataType::Utf8,
    }
}

/// The type that holds values of both.
pub fn unified(a: Type, b: Type) -> Type {
    match (a, b) {
        _ if a == b => a,
        (Type::Text, _) | (_, Type::Text) => Type::Text,
        _ => Type::Double,
    }
}

/// The type of `time`.
pub fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

/// A table: its name, what it says, its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its name: in SQL, and of its folder.
    pub name: String,
    /// What it says, in a sentence.
    pub about: String,
    /// Its columns after the common ones.
    pub columns: Vec<Column>,
    /// The same for Arrow, the common ones included.
    pub schema: SchemaRef,
}

impl Table {
    fn new(name: &str, about: &str, columns: Vec<Column>, nullable_labels: bool) -> Self {
        let common = common_fields().into_iter();
        let own = columns.iter().map(|c| c.to_arrow(nullable_labels || c.kind != Kind::Label));
        let metadata = HashMap::from([("about".to_owned(), about.to_owned())]);
        let schema = Arc::new(Schema::new_with_metadata(common.chain(own).collect::<Vec<_>>(), metadata));
        Table { name: name.to_owned(), about: about.to_owned(), columns, schema }
    }

    /// The table of a family.
    pub fn of_family(family: &'static FamilySpec) -> Self {
        Table::new(family.table, family.about, family.fields.iter().map(Column::from).collect(), false)
    }

    /// A table that users' own rows make. A row may lack any of its labels.
    pub fn custom(name: &str, columns: Vec<Column>) -> Self {
        Table::new(name, "Rows of users' own kstats and D programs.", columns, true)
    }

    /// The table of which files have these schemas: every column that any of them has, in a type that holds the
    /// values of all.
    pub fn of_files<'a>(name: &str, schemas: impl IntoIterator<Item = &'a Schema>) -> Self {
        let mut columns: Vec<Column> = Vec::new();
        for field in schemas.into_iter().flat_map(|s| s.fields()).filter(|f| !COMMON.contains(&f.name().as_str())) {
            let Some(column) = Column::of_arrow(field) else { continue };
            match columns.iter_mut().find(|c| c.name == column.name) {
                Some(known) => known.ty = unified(known.ty, column.ty),
                None => columns.push(column),
            }
        }
        Table::custom(name, columns)
    }

    /// Places, in the Arrow schema, of the columns by which rows are sorted: the series first, then time.
    pub fn sort_columns(&self) -> Vec<usize> {
        [HOST, ZONE].into_iter().chain(self.labels()).chain([TIME]).collect()
    }

    /// Places, in the Arrow schema, of the labels.
    pub fn labels(&self) -> impl Iterator<Item = usize> + '_ {
        self.places(Kind::Label)
    }

    /// Places, in the Arrow schema, of the columns of one kind.
    pub fn places(&self, kind: Kind) -> impl Iterator<Item = usize> + '_ {
        self.columns.iter().enumerate().filter(move |(_, c)| c.kind == kind).map(|(i, _)| COMMON.len() + i)
    }

    /// The column at a place in the Arrow schema; `None` for a common one.
    pub fn column(&self, place: usize) -> Option<&Column> {
        self.columns.get(place.checked_sub(COMMON.len())?)
    }
}

fn common_fields() -> Vec<ArrowField> {
    let describe = |field: ArrowField, kind: &str, unit: &str, help: &str| {
        let texts = [("kind", kind), ("unit", unit), ("help", help)];
        field.with_metadata(
            texts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        )
    };
    vec![
        describe(ArrowField::new(COMMON[HOST], DataType::Utf8, false), "label", "", "Name of the host"),
        describe(
            ArrowField::new(COMMON[ZONE], DataType::Utf8, false),
            "label",
            "",
            "Name of the zone; `global` is the host",
        ),
        describe(
            ArrowField::new(COMMON[ZONE_ID], DataType::UInt64, false),
            "state",
            "",
            "The zone's number: another number is another instance of the zone",
        ),
        describe(ArrowField::new(COMMON[TIME], time_type(), false), "label", "ns", "The tick"),
    ]
}

const fn header_field(name: &'static str, ty: Type, unit: &'static str, help: &'static str) -> Field {
    Field { name, ty, kind: Kind::State, unit, help, kstat: "", linux: "", bits: 64 }
}

/// The table `frames`: one row for every frame that arrived. It is the proof of what is stored, and where a
/// collector that starts finds out what it has.
pub static FRAMES: FamilySpec = FamilySpec {
    index: usize::MAX,
    table: "frames",
    message: "Header",
    about: "Every frame that is stored, one row each. The host's own frame, which only announces, has the zone ''.",
    many: false,
    fields: &[
        header_field("host_id", Type::Text, "", "Stable identity of the host"),
        header_field("brand", Type::Text, "", "illumos: joyent, lx, bhyve, ...; Linux: docker, service, slice, ..."),
        header_field("boot_time", Type::Uint, "ns", "Boot of the zone, since 1970 UTC; NULL where unknown"),
        header_field("uuid", Type::Text, "", "The zone's UUID; NULL where it has none"),
        header_field("state", Type::Text, "", "The zone's state; NULL where it simply runs"),
        header_field("epoch", Type::Uint, "ns", "Start of the generator, since 1970 UTC"),
        header_field("sequence", Type::Uint, "", "Number of the frame within its topic and epoch, from 1"),
        header_field("interval_ms", Type::Uint, "ms", "Time between ticks"),
        header_field("bytes", Type::Uint, "bytes", "Size of the frame on the wire"),
        header_field(
            "recovered",
            Type::Uint,
            "",
            "1: missed when it was published, and asked for; 0: it came by itself",
        ),
    ],
};

/// The table `gaps`: frames that will never come, one row for consecutive ones of a topic.
pub static GAPS: FamilySpec = FamilySpec {
    index: usize::MAX,
    table: "gaps",
    message: "Header",
    about: "Frames that are missing for good, consecutive ones a row. `time` is when the first was due, an estimate.",
    many: true,
    fields: &[
        header_field("host_id", Type::Text, "", "Stable identity of the host"),
        header_field("epoch", Type::Uint, "ns", "Start of the generator, since 1970 UTC"),
        header_field("first", Type::Uint, "", "Number of the first missing frame within its topic and epoch"),
        header_field("last", Type::Uint, "", "Number of the last; NULL: the generator died, nobody knows with which"),
        header_field("count", Type::Uint, "frames", "How many are missing; NULL where nobody knows"),
        header_field(
            "reason",
            Type::Text,
            "",
            "evicted: the generator kept them no more; restarted: the generator that had them is gone; replaced: another \
             host answers there; no_recovery: the generator keeps none; unreachable: nobody answered in time",
        ),
        header_field("interval_ms", Type::Uint, "ms", "Time between ticks"),
        header_field("noticed", Type::Uint, "ns", "When the collector gave them up, since 1970 UTC, by its own clock"),
    ],
};

const fn tally_field(name: &'static str, help: &'static str) -> Field {
    let (ty, kind, unit) = (Type::Uint, Kind::Delta, "frames");
    Field { name, ty, kind, unit, help, kstat: "", linux: "", bits: 64 }
}

/// The table `completeness`: what came and what did not, by zone and minute.
pub static COMPLETENESS: FamilySpec = FamilySpec {
    index: usize::MAX,
    table: "completeness",
    message: "Header",
    about: "Frames that were due, came, and are missing, by zone and minute. In the files a minute may have several rows: sum.",
    many: false,
    fields: &[
        tally_field("expected", "Frames that were due in the minute, as far as that is known: received and missing"),
        tally_field("received", "Frames that are stored"),
        tally_field("recovered", "Of these, those that were missed when they were published, and asked for"),
        tally_field("missing", "Frames that will never come: see the table `gaps`"),
    ],
};

/// Every table that is known without looking at the disk: what is kept of frames as such, and the families.
pub fn known_tables() -> impl Iterator<Item = &'static FamilySpec> {
    [&FRAMES, &GAPS, &COMPLETENESS].into_iter().chain(FAMILIES.iter().copied())
}

/// The table of that name, where it is known without looking at the disk.
pub fn known_table(name: &str) -> Option<&'static FamilySpec> {
    known_tables().find(|f| f.table == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_family_takes_the_name_of_another_table_or_view() {
        let names: Vec<&str> = known_tables().map(|f| f.table).collect();
        for name in &names {
            assert_eq!(names.iter().filter(|n| n == &name).count(), 1, "{name}");
            assert!(!VIEWS.contains(name) && !name.ends_with(RATES_SUFFIX), "{name}");
        }
    }

    #[test]
    fn what_the_contract_says_of_a_field_survives_in_the_arrow_schema() {
        for family in FAMILIES {
            let table = Table::of_family(family);
            let again = Table::of_files(family.table, [table.schema.as_ref()]);
            assert_eq!(again.columns, table.columns, "{}", family.table);
        }
    }

    #[test]
    fn columns_of_two_types_meet_in_one_that_holds_both() {
        assert_eq!(unified(Type::Uint, Type::Uint), Type::Uint);
        assert_eq!(unified(Type::Uint, Type::Int), Type::Double);
        assert_eq!(unified(Type::Double, Type::Text), Type::Text);
    }
}
