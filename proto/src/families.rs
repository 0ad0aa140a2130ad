//! What a family of statistics is, and the walk over a frame that needs to know no family by name.
//!
//! A collector implements [`Sink`] and [`Visitor`] once; both are statically dispatched, so that a value costs
//! a branch and a push and nothing is boxed. Families added to frame.proto later reach it the same way.

use crate::v1;

/// What a value is, and so what may be done with it. See `Kind` in frame.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Names the row. Always present.
    Label,
    /// A value at the tick.
    Gauge,
    /// Grows since its creation.
    Counter,
    /// Counted within this tick only.
    Delta,
    /// Describes the row, changes rarely.
    State,
}

impl Kind {
    /// The kind in one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Label => "label",
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Delta => "delta",
            Kind::State => "state",
        }
    }
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    /// u64
    Uint,
    /// i64
    Int,
    /// f64
    Double,
    /// UTF-8 text
    Text,
}

/// One statistic, as frame.proto defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name: the platform's own.
    pub name: &'static str,
    /// The type of its values.
    pub ty: Type,
    /// What its values are.
    pub kind: Kind,
    /// The unit of its values; empty where there is none.
    pub unit: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Where it comes from on illumos; empty where it does not exist there.
    pub kstat: &'static str,
    /// Where it comes from on Linux; empty where it does not exist there.
    pub linux: &'static str,
    /// Width of the kernel's counter in bits: it wraps at 2^bits.
    pub bits: u32,
}

/// One family of statistics: a message of frame.proto, a table of the collectors.
#[derive(Debug, PartialEq, Eq)]
pub struct FamilySpec {
    /// Its place in [`FAMILIES`].
    pub index: usize,
    /// The name of its table.
    pub table: &'static str,
    /// The name of its message.
    pub message: &'static str,
    /// What it says, in a sentence.
    pub about: &'static str,
    /// Whether a zone has many rows of it in one tick, told apart by labels, or at most one.
    pub many: bool,
    /// Its fields, in the order in which [`Family::visit`] hands them out.
    pub fields: &'static [Field],
}

impl FamilySpec {
    /// The place of the field called `name`.
    pub fn field(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|f| f.name == name)
    }
}

/// One value of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Of a [`Type::Uint`] field.
    Uint(u64),
    /// Of a [`Type::Int`] field.
    Int(i64),
    /// Of a [`Type::Double`] field.
    Double(f64),
    /// Of a [`Type::Text`] field.
    Text(&'a str),
}

impl Value<'_> {
    /// The value as a number, where it is one. Above 2^53 the nearest double.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Uint(v) => Some(v as f64),
            Value::Int(v) => Some(v as f64),
            Value::Double(v) => Some(v),
            Value::Text(_) => None,
        }
    }
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Uint(v) => v.fmt(f),
            Value::Int(v) => v.fmt(f),
            Value::Double(v) => v.fmt(f),
            Value::Text(v) => v.fmt(f),
        }
    }
}

/// A message that is a family. Derived from frame.proto, never written by hand.
pub trait Family: prost::Message + Default {
    /// What frame.proto says of it.
    const SPEC: &'static FamilySpec;

    /// Hands every field to `visitor`, in the order of [`FamilySpec::fields`].
    fn visit<V: Visitor + ?Sized>(&self, visitor: &mut V);

    /// Sets one field. False where the family has no such field, or one of another type.
    fn set(&mut self, index: usize, value: Value<'_>) -> bool;
}

/// Receives the fields of one row.
pub trait Visitor {
    /// Field `index` of the family; `None` where it is not known.
    fn value(&mut self, index: usize, value: Option<Value<'_>>);
}

/// A closure is a visitor.
impl<F: FnMut(usize, Option<Value<'_>>)> Visitor for F {
    #[inline]
    fn value(&mut self, index: usize, value: Option<Value<'_>>) {
        self(index, value);
    }
}

/// Receives the rows of one frame.
pub trait Sink {
    /// One row of the family `F`.
    fn row<F: Family>(&mut self, row: &F);

    /// One row of a table that users defined.
    fn custom(&mut self, row: &v1::Custom);
}

/// Hands every row of `frame` to `sink`: families in the order of [`FAMILIES`], then users' own tables.
/// Distributions come bucket by bucket.
pub fn walk<S: Sink + ?Sized>(frame: &v1::Frame, sink: &mut S) {
    walk_families(frame, sink);
    for distribution in &frame.distribution {
        walk_buckets(distribution, sink);
    }
    for row in &frame.custom {
        sink.custom(row);
    }
}

/// Shows a distribution as rows of the table `distribution`.
fn walk_buckets<S: Sink + ?Sized>(distribution: &v1::Distribution, sink: &mut S) {
    let mut bucket = v1::Bucket {
        name: distribution.name.clone(),
        labels: join_labels(&distribution.labels),
        unit: (!distribution.unit.is_empty()).then(|| distribution.unit.clone()),
        ..v1::Bucket::default()
    };
    for ((lower, upper), count) in distribution.lower.iter().zip(&distribution.upper).zip(&distribution.count) {
        bucket.lower = *lower;
        bucket.upper = *upper;
        bucket.count = Some(*count);
        sink.row(&bucket);
    }
}

/// `name=value` of each label, joined by commas.
pub fn join_labels(labels: &[v1::Label]) -> String {
    labels.iter().map(|l| format!("{}={}", l.name, l.value)).collect::<Vec<_>>().join(",")
}

/// Adds a row of the family numbered `family` to `frame`; `values` are in the order of its fields.
/// The inverse of [`walk`] for every family but `distribution`. False where there is no such family.
pub fn add_row(frame: &mut v1::Frame, family: usize, values: &[Option<Value<'_>>]) -> bool {
    add_row_to(frame, family, values)
}

/// The family whose table is called `table`.
pub fn family_named(table: &str) -> Option<&'static FamilySpec> {
    FAMILIES.iter().copied().find(|f| f.table == table)
}

fn filled<F: Family>(values: &[Option<Value<'_>>]) -> F {
    let mut row = F::default();
    for (index, value) in values.iter().enumerate() {
        if let Some(value) = value {
            row.set(index, *value);
        }
    }
    row
}

include!(concat!(env!("OUT_DIR"), "/families.rs"));
