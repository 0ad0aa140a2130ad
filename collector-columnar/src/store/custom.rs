//! Tables of users' own rows: names and columns are theirs, and may be anything.
//!
//! Names are made into such as SQL takes without quotes and no file system minds; a name that one of our own tables
//! has gets `custom_` before it. A table has the columns that its rows had: a column that comes later is NULL in
//! earlier rows, and one whose values are of two types becomes one that holds both. The numbers of tables and columns
//! are bounded (limits.rs); what is beyond is left out and counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use zonescope_proto::{Kind, Type, Value, Visitor, v1};

use super::builder::{At, TableBuilder};
use super::places::Places;
use crate::limits::{CUSTOM_COLUMNS, CUSTOM_NAME_BYTES, CUSTOM_TABLES};
use crate::schema::{COMMON, Column, RATES_SUFFIX, Table, VIEWS, known_table, unified};

/// Every user-defined table of one hour.
#[derive(Debug, Default)]
pub struct CustomTables {
    tables: BTreeMap<String, Rows>,
    /// Values that were left out, a limit being reached.
    left_out: u64,
}

/// Rows of one table, kept as they came until all columns and types are known.
#[derive(Debug, Default)]
struct Rows {
    columns: Vec<Column>,
    places: HashMap<String, usize>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    at: At,
    values: Vec<(usize, Owned)>,
}

#[derive(Debug)]
enum Owned {
    Uint(u64),
    Int(i64),
    Double(f64),
    Text(Box<str>),
}

impl Owned {
    fn as_value(&self) -> Value<'_> {
        match self {
            Owned::Uint(v) => Value::Uint(*v),
            Owned::Int(v) => Value::Int(*v),
            Owned::Double(v) => Value::Double(*v),
            Owned::Text(v) => Value::Text(v),
        }
    }

    fn ty(&self) -> Type {
        match self {
            Owned::Uint(_) => Type::Uint,
            Owned::Int(_) => Type::Int,
            Owned::Double(_) => Type::Double,
            Owned::Text(_) => Type::Text,
        }
    }

    fn bytes(&self) -> usize {
        std::mem::size_of::<(usize, Owned)>() + if let Owned::Text(text) = self { text.len() } else { 0 }
    }
}

impl CustomTables {
    /// Adds a row; `known` are the tables that the store has. Gives the bytes it takes.
    pub fn add(&mut self, at: At, row: &v1::Custom, known: &mut BTreeSet<String>) -> usize {
        let name = table_name(&row.table);
        if !known.contains(&name) {
            if known.len() >= CUSTOM_TABLES {
                self.left_out += row.values.len() as u64;
                return 0;
            }
            known.insert(name.clone());
        }
        let rows = self.tables.entry(name).or_default();
        let mut values = Vec::with_capacity(row.labels.len() + row.values.len());
        for label in &row.labels {
            let value = Owned::Text(label.value.as_str().into());
            self.left_out += u64::from(!rows.put(&mut values, &label.name, Kind::Label, "", value));
        }
        for measure in &row.values {
            let Some(value) = &measure.value else { continue };
            let kind = kind(measure.kind());
            self.left_out += u64::from(!rows.put(&mut values, &measure.name, kind, &measure.unit, owned(value)));
        }
        let bytes = values.iter().map(|(_, v)| v.bytes()).sum::<usize>() + std::mem::size_of::<Row>();
        rows.rows.push(Row { at, values });
        bytes
    }

    /// How many tables there are.
    pub fn count(&self) -> usize {
        self.tables.len()
    }

    /// The rows of each table; says what was left out.
    ///
    /// # Errors
    /// Where rows do not fit their columns.
    pub fn finish(self, places: &Places) -> Result<Vec<(Arc<Table>, RecordBatch)>, ArrowError> {
        if self.left_out > 0 {
            tracing::warn!(
                values = self.left_out,
                "left out of users' tables: at most {CUSTOM_TABLES} tables of {CUSTOM_COLUMNS} columns are kept"
            );
        }
        self.tables.into_iter().map(|(name, rows)| rows.finish(&name, places)).collect()
    }
}

impl Rows {
    /// Puts a value into its column, which it makes if need be. False where there can be no more columns, or where
    /// the row has the column already.
    fn put(&mut self, row: &mut Vec<(usize, Owned)>, name: &str, kind: Kind, unit: &str, value: Owned) -> bool {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None if self.columns.len() >= CUSTOM_COLUMNS => return false,
            None => self.add_column(name, kind, unit, value.ty()),
        };
        if row.iter().any(|(p, _)| *p == place) {
            return false;
        }
        let column = &mut self.columns[place];
        column.ty = unified(column.ty, value.ty());
        row.push((place, value));
        true
    }

    /// Two names may become one when made into column names: then they share the column.
    fn add_column(&mut self, name: &str, kind: Kind, unit: &str, ty: Type) -> usize {
        let column_name = column_name(name);
        let place = self.columns.iter().position(|c| c.name == column_name).unwrap_or(self.columns.len());
        if place == self.columns.len() {
            let unit = unit.to_owned().into();
            self.columns.push(Column { name: column_name.into(), ty, kind, unit, help: "".into(), bits: 64 });
        }
        self.places.insert(name.to_owned(), place);
        place
    }

    fn finish(self, name: &str, places: &Places) -> Result<(Arc<Table>, RecordBatch), ArrowError> {
        let columns = self.columns.len();
        let mut builder = TableBuilder::new(Arc::new(Table::custom(name, self.columns)));
        for row in &self.rows {
            builder.begin(row.at);
            let mut values = vec![None; columns];
            for (place, value) in &row.values {
                values[*place] = Some(value.as_value());
            }
            for (place, value) in values.into_iter().enumerate() {
                builder.value(place, value);
            }
        }
        builder.finish(places)
    }
}

fn owned(value: &v1::measure::Value) -> Owned {
    match value {
        v1::measure::Value::Uint(v) => Owned::Uint(*v),
        v1::measure::Value::Int(v) => Owned::Int(*v),
        v1::measure::Value::Double(v) => Owned::Double(*v),
        v1::measure::Value::Text(v) => Owned::Text(v.as_str().into()),
    }
}

fn kind(kind: v1::Kind) -> Kind {
    match kind {
        v1::Kind::Label => Kind::Label,
        v1::Kind::Counter => Kind::Counter,
        v1::Kind::Delta => Kind::Delta,
        v1::Kind::State => Kind::State,
        v1::Kind::Gauge | v1::Kind::Unspecified => Kind::Gauge,
    }
}

/// A name of letters, digits and underscores that begins with a letter.
fn plain(name: &str, prefix: &str) -> String {
    let mut plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !plain.starts_with(|c: char| c.is_ascii_alphabetic()) {
        plain.insert_str(0, prefix);
    }
    plain.truncate(CUSTOM_NAME_BYTES);
    plain
}

/// The table that a user's name stands for.
pub fn table_name(name: &str) -> String {
    let name = plain(name, "t_");
    // In lower case, as file systems may not tell cases apart.
    let lower = name.to_ascii_lowercase();
    let taken = known_table(&lower).is_some() || VIEWS.contains(&lower.as_str()) || lower.ends_with(RATES_SUFFIX);
    if taken { format!("custom_{lower}_") } else { lower }
}

fn column_name(name: &str) -> String {
    let name = plain(name, "c_");
    if COMMON.contains(&name.as_str()) { format!("{name}_") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_table_cannot_take_the_place_of_ours() {
        assert_eq!(table_name("MyKstat"), "mykstat");
        assert_eq!(table_name("cpu"), "custom_cpu_");
        assert_eq!(table_name("use"), "custom_use_");
        assert_eq!(table_name("cpu_rates"), "custom_cpu_rates_");
        assert_eq!(table_name("../../etc/passwd"), "t_______etc_passwd");
        assert_eq!(table_name(".wal"), "t__wal");
        assert_eq!(table_name(""), "t_");
        assert!(table_name(&"x".repeat(1000)).len() <= CUSTOM_NAME_BYTES);
    }

    #[test]
    fn a_users_column_cannot_take_the_place_of_a_common_one() {
        assert_eq!(column_name("time"), "time_");
        assert_eq!(column_name("10ms ops"), "c_10ms_ops");
    }
}
