//! Rows to columns: the walk over a frame fills these.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder,
};
use arrow::error::ArrowError;
use zonescope_proto::{Type, Value, Visitor};

use crate::schema::{COMMON, Table};

/// What every row of a frame has in common.
#[derive(Debug, Clone, Copy)]
pub struct At<'a> {
    /// The host's name.
    pub host: &'a str,
    /// The zone's name; empty in the host's own frame.
    pub zone: &'a str,
    /// The zone's number.
    pub zone_id: u64,
    /// The tick.
    pub time: i64,
}

impl At<'_> {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.host.len() + self.zone.len() + 24
    }
}

/// The common columns.
#[derive(Debug)]
struct Common {
    host: StringBuilder,
    zone: StringBuilder,
    zone_id: UInt64Builder,
    time: TimestampNanosecondBuilder,
}

impl Common {
    fn new() -> Self {
        let time = TimestampNanosecondBuilder::new().with_timezone("UTC");
        Common { host: StringBuilder::new(), zone: StringBuilder::new(), zone_id: UInt64Builder::new(), time }
    }

    fn push(&mut self, at: &At<'_>) {
        self.host.append_value(at.host);
        self.zone.append_value(at.zone);
        self.zone_id.append_value(at.zone_id);
        self.time.append_value(at.time);
    }

    fn finish(mut self) -> [ArrayRef; COMMON.len()] {
        [
            Arc::new(self.host.finish()),
            Arc::new(self.zone.finish()),
            Arc::new(self.zone_id.finish()),
            Arc::new(self.time.finish()),
        ]
    }
}

/// The values of one column.
#[derive(Debug)]
enum Cells {
    Uint(UInt64Builder),
    Int(Int64Builder),
    Double(Float64Builder),
    Text(StringBuilder),
}

impl Cells {
    fn new(ty: Type) -> Self {
        match ty {
            Type::Uint => Cells::Uint(UInt64Builder::new()),
            Type::Int => Cells::Int(Int64Builder::new()),
            Type::Double => Cells::Double(Float64Builder::new()),
            Type::Text => Cells::Text(StringBuilder::new()),
        }
    }

    /// Adds a value, as far as the column's type can hold it. Gives the bytes it takes.
    fn push(&mut self, value: Option<Value<'_>>) -> usize {
        match (self, value) {
            (Cells::Uint(cells), Some(Value::Uint(v))) => cells.append_value(v),
            (Cells::Uint(cells), _) => cells.append_null(),
            (Cells::Int(cells), Some(Value::Int(v))) => cells.append_value(v),
            (Cells::Int(cells), _) => cells.append_null(),
            (Cells::Double(cells), value) => cells.append_option(value.and_then(|v| v.as_f64())),
            (Cells::Text(cells), Some(Value::Text(v))) => {
                cells.append_value(v);
                return v.len() + 5;
            }
            (Cells::Text(cells), Some(number)) => cells.append_value(number.to_string()),
            (Cells::Text(cells), None) => cells.append_null(),
        }
        9
    }

    fn finish(self) -> ArrayRef {
        match self {
            Cells::Uint(mut cells) => Arc::new(cells.finish()),
            Cells::Int(mut cells) => Arc::new(cells.finish()),
            Cells::Double(mut cells) => Arc::new(cells.finish()),
            Cells::Text(mut cells) => Arc::new(cells.finish()),
        }
    }
}

/// Rows of one table, by column.
#[derive(Debug)]
pub struct TableBuilder {
    table: Arc<Table>,
    common: Common,
    cells: Vec<Cells>,
    bytes: usize,
}

impl TableBuilder {
    /// Without rows.
    pub fn new(table: Arc<Table>) -> Self {
        let cells = table.columns.iter().map(|c| Cells::new(c.ty)).collect();
        TableBuilder { table, common: Common::new(), cells, bytes: 0 }
    }

    /// Begins a row. Each of the table's columns must be given its value next, once.
    pub fn begin(&mut self, at: &At<'_>) {
        self.common.push(at);
        self.bytes += at.bytes();
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows, in the order in which they came.
    ///
    /// # Errors
    /// Where a row was not given all of its values.
    pub fn finish(self) -> Result<(Arc<Table>, RecordBatch), ArrowError> {
        let columns = self.common.finish().into_iter().chain(self.cells.into_iter().map(Cells::finish)).collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.table.schema), columns)?;
        Ok((self.table, batch))
    }
}

impl Visitor for TableBuilder {
    #[inline]
    fn value(&mut self, index: usize, value: Option<Value<'_>>) {
        if let Some(cells) = self.cells.get_mut(index) {
            self.bytes += cells.push(value);
        }
    }
}
