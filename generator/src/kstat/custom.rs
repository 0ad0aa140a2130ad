//! Users' own kstats: selected in the configuration, sent as rows of a table of their own, with no code of ours.
//!
//! A row is one kstat: its labels are module, instance and name, its values the statistics that were asked for. Numbers
//! have the kind and unit that the user gave them; texts describe. Whose row it is is told as for our own families: by
//! `zonename`, else by the instance where the module's instance is the zone's id, else it is the host's.
//!
//! A raw kstat (`cpu_stat`, `vminfo`, `sysinfo`: some 60 on a host) holds a structure of its driver's, which kstat(8)
//! knows for a few of them and nobody for all. They cannot be read, and the row `chain` of `collect` says so.

use zonescope_proto::limits::MAX_TEXT_BYTES;
use zonescope_proto::v1;
use zonescope_proto::v1::measure::Value;

use super::chain::{Id, Kstat, Stat};
use super::families::{FAMILIES, Owner};
use super::limits::{MAX_CUSTOM_ROW, MAX_CUSTOM_ROWS, MAX_CUSTOM_VALUES};
use super::options::{BadOption, Checked, KstatOptions};

/// Every table of users' own.
#[derive(Debug, Default)]
pub struct Custom {
    pub(super) tables: Vec<Table>,
    /// Values in each zone's frame, by the zone's place.
    values: Vec<usize>,
}

/// One of them, and how it fares.
#[derive(Debug)]
pub(super) struct Table {
    checked: Checked,
    /// In this tick.
    pub(super) rows: u64,
    /// Rows and values that were left out since the start.
    pub(super) drops: u64,
    /// Why, of the last in this tick.
    pub(super) error: Option<String>,
}

impl Table {
    pub(super) fn name(&self) -> &str {
        &self.checked.name
    }

    fn leave_out(&mut self, why: String) {
        self.drops += 1;
        self.error = Some(why);
    }

    fn row(&mut self, kstat: &Kstat<'_>, room: usize) -> Option<v1::Custom> {
        let mut values: Vec<v1::Measure> = Vec::new();
        for (name, stat) in kstat.stats {
            // Slots that a driver left without a name hold nothing; of two with one name kstat(3KSTAT) finds the first.
            if name.is_empty() || !self.checked.selector.takes_statistic(name) || values.iter().any(|v| v.name == *name)
            {
                continue;
            }
            if values.len() == room {
                self.leave_out(format!("more than {room} values of {}:{}", kstat.id.module, kstat.id.name));
                break;
            }
            values.push(self.measure(name, stat));
        }
        let Id { module, instance, name } = kstat.id;
        let labels = [("module", module), ("instance", &instance.to_string()), ("name", name)];
        (!values.is_empty()).then(|| v1::Custom {
            table: self.checked.name.clone(),
            labels: labels.map(|(name, value)| v1::Label { name: name.to_owned(), value: cut(value) }).into(),
            values,
        })
    }

    fn measure(&self, name: &str, stat: &Stat<'_>) -> v1::Measure {
        let (kind, unit, value) = match *stat {
            Stat::Uint(v) => (self.checked.kind, &*self.checked.unit, Value::Uint(v)),
            Stat::Int(v) => (self.checked.kind, &*self.checked.unit, Value::Int(v)),
            Stat::Double(v) => (self.checked.kind, &*self.checked.unit, Value::Double(v)),
            Stat::Text(v) => (v1::Kind::State, "", Value::Text(cut(v))),
        };
        v1::Measure { name: cut(name), kind: kind.into(), unit: unit.to_owned(), value: Some(value) }
    }
}

impl Custom {
    /// What `options` asks for.
    ///
    /// # Errors
    /// Where a selector is none.
    pub fn new(options: &KstatOptions) -> Result<Self, BadOption> {
        let table = |checked| Table { checked, rows: 0, drops: 0, error: None };
        Ok(Custom { tables: options.checked()?.into_iter().map(table).collect(), values: Vec::new() })
    }

    /// A new tick.
    pub(super) fn begin(&mut self) {
        self.values.clear();
        for table in &mut self.tables {
            (table.rows, table.error) = (0, None);
        }
    }

    /// Whether any table wants a kstat.
    pub fn wants(&self, id: Id<'_>) -> bool {
        self.tables.iter().any(|table| table.checked.selector.takes(id))
    }

    /// Puts a kstat of the zone at place `zone` into its frame, once for each table that wants it.
    pub(super) fn fill(&mut self, kstat: &Kstat<'_>, zone: usize, frame: &mut v1::Frame) {
        if self.values.len() <= zone {
            self.values.resize(zone + 1, 0);
        }
        for table in self.tables.iter_mut().filter(|table| table.checked.selector.takes(kstat.id)) {
            let room = MAX_CUSTOM_ROW.min(MAX_CUSTOM_VALUES - self.values[zone]);
            if frame.custom.len() >= MAX_CUSTOM_ROWS || room == 0 {
                table.leave_out(format!("more than {MAX_CUSTOM_ROWS} rows or {MAX_CUSTOM_VALUES} values in one zone"));
                continue;
            }
            if let Some(row) = table.row(kstat, room) {
                self.values[zone] += row.values.len();
                table.rows += 1;
                frame.custom.push(row);
            }
        }
    }
}

/// Whose the kstats of a module are, by the families that know it.
pub(super) fn owner(id: Id<'_>) -> Owner {
    FAMILIES.iter().find(|family| family.modules.contains(&id.module)).map_or(Owner::Link, |family| family.owner)
}

/// A text no longer than a frame may hold.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}
