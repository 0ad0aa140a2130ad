//! Rows to columns: the walk over a frame fills these.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampNanosecondArray, UInt64Builder,
};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use zonescope_proto::{Type, Value, Visitor};

use super::places::Places;
use crate::schema::Table;

/// What every row of a frame has in common.
#[derive(Debug, Clone, Copy)]
pub struct At {
    /// The zone, by its number in [`Places`].
    pub place: u32,
    /// The tick, ns since 1970 UTC.
    pub time: i64,
}

impl At {
    /// Bytes that it takes in a table: itself, and the number of the zone that the batch will have.
    pub const BYTES: usize = 4 + 8 + 8;
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
    places: Vec<u32>,
    times: Vec<i64>,
    cells: Vec<Cells>,
    bytes: usize,
}

impl TableBuilder {
    /// Without rows.
    pub fn new(table: Arc<Table>) -> Self {
        let cells = table.columns.iter().map(|c| Cells::new(c.ty)).collect();
        TableBuilder { table, places: Vec::new(), times: Vec::new(), cells, bytes: 0 }
    }

    /// Begins a row. Each of the table's columns must be given its value next, once.
    #[inline]
    pub fn begin(&mut self, at: At) {
        self.places.push(at.place);
        self.times.push(at.time);
        self.bytes += At::BYTES;
    }

    /// Bytes that the rows take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows, in the order in which they came; `host` and `zone` are dictionaries.
    ///
    /// # Errors
    /// Where a row was not given all of its values.
    pub fn finish(self, places: &Places) -> Result<(Arc<Table>, RecordBatch), ArrowError> {
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(self.times).with_timezone("UTC"));
        let common = places.columns(self.places)?.into_iter().chain([times]);
        let columns: Vec<ArrayRef> = common.chain(self.cells.into_iter().map(Cells::finish)).collect();
        let typed = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| {
            Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone()))
        };
        let fields: Vec<_> = self.table.schema.fields().iter().zip(&columns).map(typed).collect();
        let schema = Schema::new_with_metadata(fields, self.table.schema.metadata().clone());
        Ok((self.table, RecordBatch::try_new(Arc::new(schema), columns)?))
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
