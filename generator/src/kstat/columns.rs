//! Which statistic fills which field: read off frame.proto's `(kstat)` options, so that it stands in one place only.

use std::collections::HashMap;

use zonescope_proto::{Family, Type, Value};

use super::chain::{Kstat, Stat};
use super::families::KstatFamily;

/// A family's message, with its fields set by number.
pub trait Fields {
    /// Sets one field. False where it is of another type.
    fn set_field(&mut self, index: usize, value: Value<'_>) -> bool;
}

impl<F: Family> Fields for F {
    fn set_field(&mut self, index: usize, value: Value<'_>) -> bool {
        self.set(index, value)
    }
}

/// Where a statistic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Field(usize, Type),
    Ignored,
}

/// The statistics of one family of kstats.
#[derive(Debug)]
pub struct Columns {
    targets: HashMap<&'static str, Target>,
    snaptime: Option<usize>,
    crtime: Option<usize>,
}

/// What filling a row left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filled<'a> {
    /// Statistics that are neither in frame.proto nor among those we know and leave out.
    pub unknown: u64,
    /// One of them.
    pub unknown_name: Option<&'a str>,
    /// A statistic whose type was not the one expected.
    pub retyped: Option<&'a str>,
}

impl Columns {
    /// Of a family: `module:instance:name:statistic` in frame.proto, where the module is its own.
    pub fn of(family: &KstatFamily) -> Self {
        let spec = super::spec(family.table);
        let mut targets = HashMap::new();
        for (index, field) in spec.fields.iter().enumerate() {
            let mut parts = field.kstat.splitn(4, ':');
            let module = parts.next().unwrap_or_default();
            if let Some(statistic) = parts.nth(2).filter(|_| family.modules.contains(&module)) {
                targets.insert(statistic, Target::Field(index, field.ty));
            }
        }
        // What a family leaves out is left out, whatever frame.proto could hold.
        // Slots that a driver left without a name hold nothing.
        targets.extend(family.ignore.iter().chain(&["zonename", ""]).map(|name| (*name, Target::Ignored)));
        Columns { targets, snaptime: spec.field("snaptime"), crtime: spec.field("crtime") }
    }

    /// Sets every statistic of `kstat` that the family has a field for.
    pub fn fill<'a>(&self, row: &mut dyn Fields, kstat: &Kstat<'a>, snaptime: Option<i64>) -> Filled<'a> {
        if let Some((index, value)) = self.snaptime.zip(snaptime) {
            row.set_field(index, Value::Int(value));
        }
        if let Some((index, value)) = self.crtime.zip(kstat.crtime_ns) {
            row.set_field(index, Value::Uint(value));
        }
        let mut filled = Filled::default();
        for (name, stat) in kstat.stats {
            match self.targets.get(name) {
                Some(Target::Ignored) => {}
                Some(Target::Field(index, ty)) => {
                    if !value(stat, *ty).is_some_and(|value| row.set_field(*index, value)) {
                        filled.retyped = Some(name);
                    }
                }
                None => {
                    filled.unknown += 1;
                    filled.unknown_name = Some(name);
                }
            }
        }
        filled
    }
}

fn value<'a>(stat: &Stat<'a>, ty: Type) -> Option<Value<'a>> {
    match (ty, *stat) {
        (Type::Uint, stat) => stat.uint().map(Value::Uint),
        (Type::Int, Stat::Int(v)) => Some(Value::Int(v)),
        (Type::Int, Stat::Uint(v)) => i64::try_from(v).ok().map(Value::Int),
        (Type::Double, Stat::Double(v)) => Some(Value::Double(v)),
        (Type::Double, Stat::Uint(v)) => Some(Value::Double(v as f64)),
        (Type::Text, Stat::Text(v)) => Some(Value::Text(v)),
        _ => None,
    }
}
