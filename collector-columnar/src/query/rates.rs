//! Counters per second: `<table>_rates`, which has the columns of its table, and `rates`, which has a row for each.
//!
//! A difference is what `zonescope_proto::rate` says, here as everywhere: right across resets, small steps back and
//! 32-bit wraps. The first row of a series, and a row after a gap longer than the look-back, has none: NULL in
//! the wide tables, no row in the long one.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, stream};
use zonescope_proto::Kind;

use super::derived::{base_filters, in_series_order};
use super::range::texts;
use super::steps::{CRTIME, SNAPTIME, Steps, per_second_unit};
use super::stored::{StoredTable, as_read};
use crate::schema::{COMMON, HOST, TIME, Table, ZONE, ZONE_ID, time_type};

/// What of a counter's series the base table may be asked for.
fn series(table: &Table) -> Vec<&str> {
    [COMMON[HOST], COMMON[ZONE]]
        .into_iter()
        .chain(table.labels().map(|i| table.schema.field(i).name().as_str()))
        .collect()
}

/// Plans one read of a table that turns counters into rates.
async fn plan(
    state: &dyn Session,
    base: &Arc<StoredTable>,
    counters: &[usize],
    also: &[usize],
    filters: &[Expr],
) -> Result<Arc<dyn ExecutionPlan>> {
    let table = base.table();
    let series = series(table);
    let stamps = [CRTIME, SNAPTIME].into_iter().filter(|s| table.schema.index_of(s).is_ok());
    let wanted = counters.iter().chain(also).map(|i| table.schema.field(*i).name().as_str());
    let mut columns: Vec<&str> = series.iter().copied().chain([COMMON[ZONE_ID], COMMON[TIME]]).chain(stamps).collect();
    for name in wanted {
        if !columns.contains(&name) {
            columns.push(name);
        }
    }
    let order: Vec<&str> = series.iter().copied().chain([COMMON[TIME]]).collect();
    let filters = base_filters(filters, &series);
    in_series_order(state, &table.name, Arc::clone(base) as _, &columns, &order, filters).await
}

/// A table whose counters are rates.
#[derive(Debug)]
pub struct WideRates {
    base: Arc<StoredTable>,
    schema: SchemaRef,
}

impl WideRates {
    /// The rates of a table. `None` where it has no counters.
    pub fn new(base: Arc<StoredTable>) -> Option<Self> {
        base.table().places(Kind::Counter).next()?;
        let schema = as_read(&wide_schema(base.table()));
        Some(WideRates { base, schema })
    }
}

/// The schema of a table's rates, with units.
pub fn wide_schema(table: &Table) -> Schema {
    let field = |(place, field): (usize, &Arc<Field>)| match table.column(place) {
        Some(column) if column.kind == Kind::Counter => {
            let mut metadata = field.metadata().clone();
            metadata.insert("unit".to_owned(), per_second_unit(&column.unit));
            metadata.insert("kind".to_owned(), Kind::Gauge.name().to_owned());
            Field::new(field.name(), DataType::Float64, true).with_metadata(metadata)
        }
        _ => field.as_ref().clone(),
    };
    Schema::new(table.schema.fields().iter().enumerate().map(field).collect::<Vec<_>>())
}

#[async_trait]
impl TableProvider for WideRates {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let output = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let counters: BTreeSet<usize> = self.base.table().places(Kind::Counter).collect();
        let (counters, also): (Vec<usize>, Vec<usize>) = output.iter().partition(|i| counters.contains(i));
        let input = plan(state, &self.base, &counters, &also, filters).await?;
        let schema = Arc::new(self.schema.project(&output)?);
        streaming(&input, self.base.table(), &Shape::Wide, &schema)
    }
}

/// All counters of all tables, a row each.
#[derive(Debug)]
pub struct LongRates {
    bases: Vec<Arc<StoredTable>>,
    schema: SchemaRef,
}

impl LongRates {
    /// The rates of all these tables.
    pub fn new(bases: Vec<Arc<StoredTable>>) -> Self {
        LongRates { bases, schema: long_schema() }
    }
}

/// The schema of `rates`.
pub fn long_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let name = |place: usize| Field::new(COMMON[place], DataType::Utf8View, false);
    Arc::new(Schema::new(vec![
        name(HOST),
        name(ZONE),
        Field::new(COMMON[ZONE_ID], DataType::UInt64, false),
        Field::new(COMMON[TIME], time_type(), false),
        text("family"),
        text("key"),
        text("statistic"),
        text("unit"),
        Field::new("rate", DataType::Float64, false),
    ]))
}

#[async_trait]
impl TableProvider for LongRates {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (families, statistics) = (texts(filters, "family"), texts(filters, "statistic"));
        let output = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&output)?);
        let mut plans = Vec::new();
        for base in &self.bases {
            let table = base.table();
            if families.as_ref().is_some_and(|f| !f.contains(&table.name)) {
                continue;
            }
            let name = |place: &usize| table.schema.field(*place).name();
            let wanted = |place: &usize| statistics.as_ref().is_none_or(|s| s.contains(name(place)));
            let counters: Vec<usize> = table.places(Kind::Counter).filter(wanted).collect();
            if counters.is_empty() {
                continue;
            }
            let input = plan(state, base, &counters, &[], filters).await?;
            let shape = Shape::Long { counters, output: output.clone() };
            plans.push(streaming(&input, table, &shape, &schema)?);
        }
        match plans.len() {
            0 => Ok(Arc::new(EmptyExec::new(schema))),
            1 => Ok(plans.swap_remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

/// Which rows come out.
#[derive(Debug, Clone)]
enum Shape {
    /// Those that go in.
    Wide,
    /// One for each of these counters, of which these columns are asked for.
    Long { counters: Vec<usize>, output: Vec<usize> },
}

fn streaming(
    input: &Arc<dyn ExecutionPlan>,
    table: &Arc<Table>,
    shape: &Shape,
    schema: &SchemaRef,
) -> Result<Arc<dyn ExecutionPlan>> {
    let stream = |partition| {
        let (input, table, shape) = (Arc::clone(input), Arc::clone(table), shape.clone());
        Arc::new(RatesStream { input, partition, table, shape, schema: Arc::clone(schema) }) as Arc<dyn PartitionStream>
    };
    let streams = (0..input.output_partitioning().partition_count()).map(stream).collect();
    Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(schema), streams, None, [], false, None)?))
}

/// One partition: whole series, each in order of time.
#[derive(Debug)]
struct RatesStream {
    input: Arc<dyn ExecutionPlan>,
    partition: usize,
    table: Arc<Table>,
    shape: Shape,
    schema: SchemaRef,
}

impl PartitionStream for RatesStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let input = match self.input.execute(self.partition, ctx) {
            Ok(input) => input,
            Err(error) => {
                let failed = stream::once(async { Err(error) });
                return Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), failed));
            }
        };
        let (table, shape, schema) = (Arc::clone(&self.table), self.shape.clone(), Arc::clone(&self.schema));
        let mut last: Option<RecordBatch> = None;
        let batches = input.flat_map(move |batch| {
            let made = batch.and_then(|batch| {
                let rows = match &last {
                    Some(last) => concat_batches(&batch.schema(), [last, &batch])?,
                    None => batch,
                };
                let first_new = usize::from(last.is_some());
                if rows.num_rows() > 0 {
                    last = Some(rows.slice(rows.num_rows() - 1, 1));
                }
                let steps = Steps::new(&table, &rows, first_new)?;
                match &shape {
                    Shape::Wide => Ok(vec![steps.wide(&schema)?]),
                    Shape::Long { counters, output } => steps.long(counters, output, &schema),
                }
            });
            stream::iter(match made {
                Ok(batches) => batches.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            })
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
