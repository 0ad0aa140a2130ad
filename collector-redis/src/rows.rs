//! The rows of a frame, as they will be stored: of every family alike, and of users' own tables.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use redis::{RedisWrite, ToRedisArgs};
use zonescope_proto::{Family, Kind, Sink, Value, v1, walk};

use crate::keys;

/// A value that outlives the walk over its frame.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// u64
    Uint(u64),
    /// i64
    Int(i64),
    /// f64
    Double(f64),
    /// UTF-8 text
    Text(String),
}

impl From<Value<'_>> for Data {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Uint(v) => Data::Uint(v),
            Value::Int(v) => Data::Int(v),
            Value::Double(v) => Data::Double(v),
            Value::Text(v) => Data::Text(v.to_owned()),
        }
    }
}

impl std::fmt::Display for Data {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Data::Uint(v) => v.fmt(f),
            Data::Int(v) => v.fmt(f),
            Data::Double(v) => v.fmt(f),
            Data::Text(v) => v.fmt(f),
        }
    }
}

impl ToRedisArgs for Data {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self {
            Data::Uint(v) => v.write_redis_args(out),
            Data::Int(v) => v.write_redis_args(out),
            // Not the crate's own form: it writes 1e16 as `1e16`, and we write numbers alike wherever we write them.
            Data::Double(v) => out.write_arg_fmt(v),
            Data::Text(v) => out.write_arg(v.as_bytes()),
        }
    }
}

/// One value of a row.
#[derive(Debug)]
pub struct Cell<'a> {
    /// Its name: the platform's own.
    pub name: &'a str,
    /// The value.
    pub data: Data,
    /// What may be done with it.
    pub kind: Kind,
    /// Width of a counter.
    pub bits: u32,
    /// Tells it from the row's other values, from tick to tick.
    pub id: u64,
}

/// One row: labels and values, those that are known.
#[derive(Debug)]
pub struct Row<'a> {
    /// Its table.
    pub table: Cow<'static, str>,
    /// Whether its table can have several rows.
    pub many: bool,
    /// Its labels, as one name; empty where the table has one row.
    pub name: String,
    /// Labels and values.
    pub cells: Vec<Cell<'a>>,
}

impl Row<'_> {
    /// Whether it says anything: labels alone do not.
    pub fn says_something(&self) -> bool {
        self.cells.iter().any(|c| c.kind != Kind::Label)
    }

    /// The value of the cell called `name`.
    pub fn cell(&self, name: &str) -> Option<&Data> {
        self.cells.iter().find(|c| c.name == name).map(|c| &c.data)
    }

    /// The row as JSON, with `rates` as `NAME/s`: how a row of many is stored in one field.
    pub fn json(&self, rates: &[(&str, f64)]) -> String {
        let mut json = String::with_capacity(32 * (self.cells.len() + rates.len()));
        json.push('{');
        for cell in &self.cells {
            name(&mut json, cell.name, "");
            match &cell.data {
                Data::Text(text) => quote(&mut json, text),
                // JSON knows no infinity and no NaN.
                Data::Double(v) if !v.is_finite() => quote(&mut json, &v.to_string()),
                number => {
                    let _ = write!(json, "{number}");
                }
            }
        }
        for (of, rate) in rates {
            name(&mut json, of, "/s");
            let _ = write!(json, "{rate}");
        }
        json.push('}');
        json
    }
}

fn name(json: &mut String, name: &str, suffix: &str) {
    if json.len() > 1 {
        json.push(',');
    }
    quote(json, name);
    if !suffix.is_empty() {
        json.insert_str(json.len() - 1, suffix);
    }
    json.push(':');
}

fn quote(json: &mut String, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        json.push('"');
        json.push_str(text);
        json.push('"');
    } else {
        json.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// Hands every row of `frame` that says something to `take`, table by table.
pub fn each(frame: &v1::Frame, take: impl FnMut(&Row<'_>)) {
    walk(frame, &mut Rows(take));
}

struct Rows<T>(T);

impl<T: FnMut(&Row<'_>)> Rows<T> {
    fn take(&mut self, table: Cow<'static, str>, many: bool, cells: Vec<Cell<'_>>) {
        let labels = cells.iter().filter(|c| c.kind == Kind::Label);
        let name = if many { keys::row_name(labels.map(|c| label(&c.data))) } else { String::new() };
        let row = Row { table, many, name, cells };
        if row.says_something() {
            (self.0)(&row);
        }
    }
}

fn label(data: &Data) -> Cow<'_, str> {
    match data {
        Data::Text(text) => Cow::Borrowed(text),
        number => Cow::Owned(number.to_string()),
    }
}

impl<T: FnMut(&Row<'_>)> Sink for Rows<T> {
    fn row<F: Family>(&mut self, row: &F) {
        let spec = F::SPEC;
        let mut cells = Vec::with_capacity(spec.fields.len());
        row.visit(&mut |index: usize, value: Option<Value<'_>>| {
            if let Some(value) = value {
                let field = &spec.fields[index];
                let (kind, bits, id) = (field.kind, field.bits, index as u64);
                cells.push(Cell { name: field.name, data: value.into(), kind, bits, id });
            }
        });
        self.take(Cow::Borrowed(spec.table), spec.many, cells);
    }

    fn custom(&mut self, row: &v1::Custom) {
        let labels = row.labels.iter().map(|l| {
            let data = Data::Text(l.value.clone());
            Cell { name: &l.name, data, kind: Kind::Label, bits: 64, id: 0 }
        });
        let values = row.values.iter().filter_map(|measure| {
            let data = match measure.value.as_ref()? {
                v1::measure::Value::Uint(v) => Data::Uint(*v),
                v1::measure::Value::Int(v) => Data::Int(*v),
                v1::measure::Value::Double(v) => Data::Double(*v),
                v1::measure::Value::Text(v) => Data::Text(v.clone()),
            };
            let kind = if measure.kind() == v1::Kind::Counter { Kind::Counter } else { Kind::Gauge };
            Some(Cell { name: &measure.name, data, kind, bits: 64, id: hash(&measure.name) })
        });
        let cells = labels.chain(values).collect();
        self.take(Cow::Owned(keys::custom_table(&row.table).into_owned()), true, cells);
    }
}

/// Of anything, the same within this process.
pub fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_json_that_any_parser_reads() {
        let link = v1::Net { link: "net\"0\n".into(), rbytes64: Some(u64::MAX), ..v1::Net::default() };
        let frame = v1::Frame { net: vec![link], ..v1::Frame::default() };
        let mut seen = Vec::new();
        each(&frame, |row| seen.push((row.name.clone(), row.json(&[("rbytes64", 2.5)]))));
        let (name, json) = seen.remove(0);
        assert_eq!(name, "net\"0%0A");
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed["link"], "net\"0\n");
        assert_eq!(parsed["rbytes64"].as_u64(), Some(u64::MAX));
        assert_eq!(parsed["rbytes64/s"], 2.5);
    }

    #[test]
    fn absent_and_zero_stay_different() {
        let frame = v1::Frame {
            cpu: Some(v1::Cpu { nsec_user: Some(0), ..v1::Cpu::default() }),
            pids: Some(v1::Pids::default()),
            ..v1::Frame::default()
        };
        let mut tables = Vec::new();
        each(&frame, |row| tables.push((row.table.to_string(), row.cells.len())));
        assert_eq!(tables, [("cpu".to_owned(), 1)], "a row that says nothing is none");
    }

    #[test]
    fn users_rows_are_rows_like_ours() {
        let value = |name: &str, value| v1::Measure { name: name.into(), value: Some(value), ..v1::Measure::default() };
        let row = v1::Custom {
            table: "cpu".into(),
            labels: vec![v1::Label { name: "queue".into(), value: "mail".into() }],
            values: vec![
                value("depth", v1::measure::Value::Int(-4)),
                value("ratio", v1::measure::Value::Double(f64::NAN)),
            ],
        };
        let frame = v1::Frame { custom: vec![row], ..v1::Frame::default() };
        let mut seen = Vec::new();
        each(&frame, |row| seen.push(format!("{} {} {}", row.table, row.name, row.json(&[]))));
        assert_eq!(seen, [r#"custom_cpu mail {"queue":"mail","depth":-4,"ratio":"NaN"}"#]);
    }
}
