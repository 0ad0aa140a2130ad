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
    /// What stood at each place of the last kstat. The kernel never changes the order, so that nearly every statistic is
    /// found by one comparison.
    places: Vec<(&'static str, Target)>,
    snaptime: Option<usize>,
    crtime: Option<usize>,
}

/// What is wrong with a statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// It is neither in frame.proto nor among those that we know and leave out.
    Unknown,
    /// It is of another type than its field.
    Retyped,
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
        Columns { targets, places: Vec::new(), snaptime: spec.field("snaptime"), crtime: spec.field("crtime") }
    }

    /// Where the statistic `name` goes, which is the one at `place` of its kstat.
    fn target(&mut self, place: usize, name: &str) -> Option<Target> {
        if let Some((last, target)) = self.places.get(place)
            && *last == name
        {
            return Some(*target);
        }
        let (name, target) = self.targets.get_key_value(name)?;
        if place < self.places.len() {
            self.places[place] = (name, *target);
        } else if place == self.places.len() {
            self.places.push((name, *target));
        }
        Some(*target)
    }

    /// Sets every statistic of `kstat` that the family has a field for, and tells `odd` of those that it cannot set. Of
    /// two with one name the first counts, as for kstat_data_lookup(3KSTAT).
    pub fn fill(
        &mut self,
        row: &mut dyn Fields,
        kstat: &Kstat<'_>,
        snaptime: Option<i64>,
        odd: &mut dyn FnMut(&str, Oddity),
    ) {
        if let Some((index, value)) = self.snaptime.zip(snaptime) {
            row.set_field(index, Value::Int(value));
        }
        if let Some((index, value)) = self.crtime.zip(kstat.crtime_ns) {
            row.set_field(index, Value::Uint(value));
        }
        let mut seen = Seen::default();
        for (place, (name, stat)) in kstat.stats.iter().enumerate() {
            match self.target(place, name) {
                Some(Target::Field(index, ty)) if seen.is_new(index) => {
                    if !value(stat, ty).is_some_and(|value| row.set_field(index, value)) {
                        odd(name, Oddity::Retyped);
                    }
                }
                Some(_) => {}
                None => odd(name, Oddity::Unknown),
            }
        }
    }
}

/// Fields that have been met.
#[derive(Default)]
struct Seen(u128);

impl Seen {
    fn is_new(&mut self, index: usize) -> bool {
        let bit = u32::try_from(index).ok().and_then(|index| 1u128.checked_shl(index)).unwrap_or(0);
        let new = self.0 & bit == 0;
        self.0 |= bit;
        new
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
