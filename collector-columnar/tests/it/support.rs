//! Stores in temporary folders, frames to put into them, questions to ask them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimestampNanosecondType, UInt64Type};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;
use zonescope_collector_columnar::query::{Answer, Engine, QueryError};
use zonescope_collector_columnar::store::fs::RealFs;
use zonescope_collector_columnar::store::{Appended, Incoming, Place, Store, StoreOptions};
use zonescope_proto::{FAMILIES, Field, Message, Type, Value, add_row, v1};

/// 2025-11-21T08:00:00Z
pub const START: u64 = 1_763_712_000_000_000_000;
/// A second.
pub const SECOND: u64 = 1_000_000_000;
/// An hour.
pub const HOUR: u64 = 3600 * SECOND;

/// A root in a temporary folder.
pub struct Root {
    dir: TempDir,
}

impl Root {
    pub fn new() -> Self {
        Root { dir: TempDir::new().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn place(&self) -> Place {
        Place::new(self.path().to_owned(), Arc::new(RealFs))
    }

    pub fn open(&self) -> Store {
        self.open_at(START)
    }

    pub fn open_at(&self, now: u64) -> Store {
        Store::open(self.place(), StoreOptions::default(), now).unwrap()
    }

    /// Stores frames and flushes them.
    pub fn store(&self, frames: &[v1::Frame]) {
        let mut store = self.open();
        put(&mut store, frames);
        store.close(START).unwrap();
    }

    /// All files below, less the lock, by path.
    pub fn files(&self) -> Vec<PathBuf> {
        fn below(dir: &Path, files: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { below(&path, files) } else { files.push(path) }
            }
        }
        let mut files = Vec::new();
        below(self.path(), &mut files);
        files.retain(|f| !f.ends_with(".lock"));
        files.sort();
        files
    }

    /// The Parquet files of a table.
    pub fn parquet(&self, table: &str) -> Vec<PathBuf> {
        let prefix = self.path().join(table);
        self.files().into_iter().filter(|f| f.starts_with(&prefix)).collect()
    }

    /// The segments of the log.
    pub fn log(&self) -> Vec<PathBuf> {
        self.files().into_iter().filter(|f| f.extension().is_some_and(|e| e == "log")).collect()
    }

    pub fn ask(&self, sql: &str) -> Rows {
        self.try_ask(sql).unwrap()
    }

    pub fn try_ask(&self, sql: &str) -> Result<Rows, QueryError> {
        let mut rows = Rows::default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(Engine::open(self.path(), 2)?.answer(sql, &mut rows))?;
        Ok(rows)
    }

    /// The single number that a question has for an answer.
    pub fn count(&self, sql: &str) -> i64 {
        match self.ask(sql).cells.as_slice() {
            [row] => match row.as_slice() {
                [Cell::Int(n)] => *n,
                [Cell::Uint(n)] => i64::try_from(*n).unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

/// A value of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    Null,
    Uint(u64),
    Int(i64),
    Double(f64),
    Text(String),
}

impl From<Option<Value<'_>>> for Cell {
    fn from(value: Option<Value<'_>>) -> Self {
        match value {
            None => Cell::Null,
            Some(Value::Uint(v)) => Cell::Uint(v),
            Some(Value::Int(v)) => Cell::Int(v),
            Some(Value::Double(v)) => Cell::Double(v),
            Some(Value::Text(v)) => Cell::Text(v.to_owned()),
        }
    }
}

/// An answer.
#[derive(Debug, Default)]
pub struct Rows {
    pub names: Vec<String>,
    pub cells: Vec<Vec<Cell>>,
}

impl Rows {
    /// The only column.
    pub fn column(&self) -> Vec<Cell> {
        self.cells.iter().map(|row| row[0].clone()).collect()
    }

    /// The only column, of numbers.
    pub fn numbers(&self) -> Vec<Option<f64>> {
        let number = |cell: &Cell| match cell {
            Cell::Null => None,
            Cell::Double(v) => Some(*v),
            Cell::Uint(v) => Some(*v as f64),
            Cell::Int(v) => Some(*v as f64),
            Cell::Text(text) => panic!("{text} is no number"),
        };
        self.cells.iter().map(|row| number(&row[0])).collect()
    }

    /// The rows in an order of their own.
    pub fn sorted(mut self) -> Vec<String> {
        let mut lines: Vec<String> = self.cells.drain(..).map(|row| format!("{row:?}")).collect();
        lines.sort();
        lines
    }
}

impl Answer for Rows {
    fn begin(&mut self, schema: SchemaRef) -> std::io::Result<()> {
        *self = Rows::default();
        self.names = schema.fields().iter().map(|f| f.name().clone()).collect();
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch) -> std::io::Result<()> {
        self.cells
            .extend((0..batch.num_rows()).map(|row| batch.columns().iter().map(|c| cell(c.as_ref(), row)).collect()));
        Ok(())
    }

    fn can_begin_anew(&self) -> bool {
        false
    }
}

pub fn cell(column: &dyn Array, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    match column.data_type() {
        DataType::UInt64 => Cell::Uint(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int64 => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => Cell::Double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Timestamp(..) => Cell::Int(column.as_primitive::<TimestampNanosecondType>().value(row)),
        DataType::Utf8 => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(column.as_string_view().value(row).to_owned()),
        other => panic!("{other}"),
    }
}

/// A frame of a zone: the `sequence`th second since [`START`].
pub fn frame(zone: &str, sequence: u64) -> v1::Frame {
    v1::Frame {
        header: Some(v1::Header {
            version: zonescope_proto::FORMAT_VERSION,
            host_id: "id-of-h".to_owned(),
            host: "h".to_owned(),
            zone: Some(v1::Zone { name: zone.to_owned(), id: 7, brand: "joyent".to_owned(), ..v1::Zone::default() }),
            epoch: START,
            sequence,
            time: START + sequence * SECOND,
            interval_ms: 1000,
        }),
        ..v1::Frame::default()
    }
}

/// The same with CPU time.
pub fn busy(zone: &str, sequence: u64, nsec_user: u64) -> v1::Frame {
    let cpu = v1::Cpu { nsec_user: Some(nsec_user), ..v1::Cpu::default() };
    v1::Frame { cpu: Some(cpu), ..frame(zone, sequence) }
}

pub fn header(frame: &mut v1::Frame) -> &mut v1::Header {
    frame.header.as_mut().unwrap()
}

/// Puts frames into a store, each at its own time.
pub fn put(store: &mut Store, frames: &[v1::Frame]) -> Vec<Appended> {
    frames.iter().map(|frame| try_put(store, frame).unwrap()).collect()
}

pub fn try_put(
    store: &mut Store,
    frame: &v1::Frame,
) -> Result<Appended, zonescope_collector_columnar::store::StoreError> {
    let time = frame.header.as_ref().unwrap().time;
    store.append(&Incoming { frame, bytes: &frame.encode_to_vec(), recovered: false }, time)
}

/// A value of a field. Rows are read within a second of their tick; anything else may be anything.
fn value(field: &Field) -> BoxedStrategy<Cell> {
    match field.ty {
        _ if field.name == "snaptime" => (-1_000_000_000..1_000_000_000i64).prop_map(Cell::Int).boxed(),
        Type::Uint => prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>()].prop_map(Cell::Uint).boxed(),
        Type::Int => prop_oneof![Just(0), Just(i64::MIN), Just(i64::MAX), any::<i64>()].prop_map(Cell::Int).boxed(),
        Type::Double => (-1e300..1e300f64).prop_map(Cell::Double).boxed(),
        Type::Text => "\\PC{0,12}".prop_map(Cell::Text).boxed(),
    }
}

fn borrowed(cell: &Cell) -> Option<Value<'_>> {
    match cell {
        Cell::Null => None,
        Cell::Uint(v) => Some(Value::Uint(*v)),
        Cell::Int(v) => Some(Value::Int(*v)),
        Cell::Double(v) => Some(Value::Double(*v)),
        Cell::Text(v) => Some(Value::Text(v)),
    }
}

/// Any frame of that zone and second: rows of any families, with any values, known or not.
pub fn any_frame(zone: String, sequence: u64) -> impl Strategy<Value = v1::Frame> {
    let row = (0..FAMILIES.len()).prop_flat_map(|family| {
        let values: Vec<_> = FAMILIES[family]
            .fields
            .iter()
            .map(|f| {
                if f.kind == zonescope_proto::Kind::Label {
                    value(f)
                } else {
                    prop_oneof![1 => Just(Cell::Null), 2 => value(f)].boxed()
                }
            })
            .collect();
        (Just(family), values)
    });
    let distribution = (vec((any::<i64>(), any::<i64>(), any::<u64>()), 0..4), "[a-z]{1,5}", "[a-z]{0,3}").prop_map(
        |(buckets, name, unit)| v1::Distribution {
            name,
            labels: vec![v1::Label { name: "op".to_owned(), value: "read".to_owned() }],
            unit,
            lower: buckets.iter().map(|b| b.0).collect(),
            upper: buckets.iter().map(|b| b.1).collect(),
            count: buckets.iter().map(|b| b.2).collect(),
        },
    );
    (vec(row, 0..8), vec(distribution, 0..2)).prop_map(move |(rows, distribution)| {
        let mut frame = v1::Frame { distribution, ..frame(&zone, sequence) };
        for (family, values) in &rows {
            add_row(&mut frame, *family, &values.iter().map(borrowed).collect::<Vec<_>>());
        }
        frame
    })
}

/// Frames of a few zones over some seconds, across the end of an hour.
pub fn any_frames() -> impl Strategy<Value = Vec<v1::Frame>> {
    let zones = ["web1", "web10", "global", "zone with, \"quotes\" and ünicode"];
    vec((0..zones.len(), 0..2u64), 1..12).prop_flat_map(move |ticks| {
        let frames: Vec<_> = ticks
            .into_iter()
            .enumerate()
            .map(|(i, (zone, hour))| {
                any_frame(zones[zone].to_owned(), i as u64 + 1).prop_map(move |mut frame| {
                    header(&mut frame).time += hour * HOUR;
                    frame
                })
            })
            .collect();
        frames
    })
}
