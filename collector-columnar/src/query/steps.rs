//! From one row of a series to the next: how much time went by, whether the counters are still the same, and so how
//! much each grew per second.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, RecordBatchOptions, StringArray,
};
use datafusion::arrow::compute::{cast, filter, partition};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, SchemaRef, TimestampNanosecondType, UInt64Type};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::{Result, exec_datafusion_err};
use zonescope_proto::Kind;
use zonescope_proto::rate::{Identity, delta, per_second};

use super::derived::LOOK_BACK_NS;
use crate::schema::{COMMON, Column, HOST, TIME, Table, ZONE, ZONE_ID};

/// Creation time of a row's counters.
pub const CRTIME: &str = "crtime";
/// When a row was read, relative to its tick.
pub const SNAPTIME: &str = "snaptime";

/// Rows of whole series in order of time, and the step that leads to each.
pub struct Steps<'a> {
    table: &'a Table,
    rows: &'a RecordBatch,
    first_new: usize,
    steps: Vec<Option<Step>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    dt: i64,
    identity: Identity,
}

/// The unit of a counter, per second.
pub fn per_second_unit(unit: &str) -> String {
    format!("{}/s", if unit.is_empty() { "1" } else { unit })
}

impl<'a> Steps<'a> {
    /// Of `rows`, of which those before `first_new` are there as predecessors only.
    ///
    /// # Errors
    /// Where a column is missing.
    pub fn new(table: &'a Table, rows: &'a RecordBatch, first_new: usize) -> Result<Self> {
        let keys = [HOST, ZONE].into_iter().chain(table.labels()).map(|i| table.schema.field(i).name().as_str());
        let keys = keys.map(|name| Ok(Arc::clone(named(rows, name)?))).collect::<Result<Vec<_>>>()?;
        let time = named(rows, COMMON[TIME])?.as_primitive::<TimestampNanosecondType>();
        let zone_id = named(rows, COMMON[ZONE_ID])?.as_primitive::<UInt64Type>();
        let crtime = rows.column_by_name(CRTIME).and_then(|c| c.as_primitive_opt::<UInt64Type>());
        let snaptime = rows.column_by_name(SNAPTIME).and_then(|c| c.as_primitive_opt::<Int64Type>());

        let step = |before: usize, row: usize| {
            let dt = time.value(row).saturating_sub(time.value(before));
            if dt <= 0 || dt > LOOK_BACK_NS {
                return None;
            }
            let read_at = |row| snaptime.filter(|s| s.is_valid(row)).map(|s| s.value(row));
            let created = |row| crtime.filter(|c| c.is_valid(row)).map(|c| c.value(row));
            let same_zone = zone_id.value(row) == zone_id.value(before);
            let instance = if same_zone { Identity::Unknown } else { Identity::Changed };
            // Each row is a little later than its tick; without its own time the tick's has to do.
            let late = read_at(row).zip(read_at(before)).map_or(0, |(now, then)| now.saturating_sub(then));
            let identity = Identity::of(created(before), created(row)).and(instance);
            Some(Step { dt: dt.saturating_add(late), identity })
        };
        let ranges = partition(&keys)?.ranges();
        let steps = ranges.into_iter().flat_map(|series| {
            let first = series.start;
            series.map(move |row| (row, row > first))
        });
        let steps = steps.map(|(row, follows)| if follows { step(row - 1, row) } else { None }).collect();
        Ok(Steps { table, rows, first_new, steps })
    }

    /// Growth per second of one counter.
    fn rates(&self, counter: &Column) -> Result<Float64Array> {
        // Users' counters may come in other types; what is no natural number has no rate.
        let values = cast(named(self.rows, &counter.name)?, &DataType::UInt64)?;
        let values = values.as_primitive::<UInt64Type>();
        let known = |row: usize| values.is_valid(row).then(|| values.value(row));
        Ok((0..values.len())
            .map(|row| {
                let step = self.steps[row]?;
                let grown = delta(known(row - 1)?, known(row)?, counter.bits, step.identity);
                per_second(grown, step.dt)
            })
            .collect())
    }

    fn counter(&self, name: &str) -> Option<&Column> {
        self.table.columns.iter().find(|c| c.name == name && c.kind == Kind::Counter)
    }

    /// The rows, with rates for counters.
    ///
    /// # Errors
    /// Where a column is missing.
    pub fn wide(&self, schema: &SchemaRef) -> Result<RecordBatch> {
        let new = self.rows.num_rows() - self.first_new;
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            let whole: ArrayRef = match self.counter(field.name()) {
                Some(counter) => Arc::new(self.rates(counter)?),
                None => Arc::clone(named(self.rows, field.name())?),
            };
            Ok(whole.slice(self.first_new, new))
        };
        let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        with_rows(schema, columns, new)
    }

    /// A row for every rate that is known of these counters (places in the table's schema); of its nine columns
    /// those at `output`.
    ///
    /// # Errors
    /// Where a column is missing.
    pub fn long(&self, counters: &[usize], output: &[usize], schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let [host, zone, zone_id, time] = COMMON.map(|name| named(self.rows, name).cloned());
        let (host, zone, zone_id, time) = (host?, zone?, zone_id?, time?);
        let key: ArrayRef = Arc::new(self.keys()?);
        let repeat = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, self.rows.num_rows())))
        };
        let family = repeat(&self.table.name);
        let mut batches = Vec::new();
        for counter in counters.iter().filter_map(|place| self.table.column(*place)) {
            let rates = self.rates(counter)?;
            let known: BooleanArray =
                (0..rates.len()).map(|i| Some(i >= self.first_new && rates.is_valid(i))).collect();
            let (statistic, unit) = (repeat(&counter.name), repeat(&per_second_unit(&counter.unit)));
            let all: [&dyn Array; 9] = [&host, &zone, &zone_id, &time, &family, &key, &statistic, &unit, &rates];
            let columns = output.iter().map(|i| Ok(filter(all[*i], &known)?)).collect::<Result<Vec<_>>>()?;
            batches.push(with_rows(schema, columns, known.true_count())?);
        }
        Ok(batches)
    }

    /// `name=value` of each label, joined by commas.
    fn keys(&self) -> Result<StringArray> {
        let options = FormatOptions::default();
        let labels = self.table.labels().map(|i| self.table.schema.field(i).name());
        let labels = labels
            .map(|name| Ok((name, ArrayFormatter::try_new(named(self.rows, name)?.as_ref(), &options)?)))
            .collect::<Result<Vec<_>>>()?;
        let key = |row| {
            labels.iter().map(|(name, value)| format!("{name}={}", value.value(row))).collect::<Vec<_>>().join(",")
        };
        Ok(StringArray::from_iter_values((0..self.rows.num_rows()).map(key)))
    }
}

fn named<'a>(rows: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    rows.column_by_name(name).ok_or_else(|| exec_datafusion_err!("the column {name} was not read"))
}

/// A batch that knows how many rows it has even where nobody asked for a column.
fn with_rows(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
