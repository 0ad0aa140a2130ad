//! The table `use`: utilization, saturation and errors of each resource of each zone at each tick.
//!
//! What these are is written once, in `zonescope_proto::resource`, as a function of two frames. So frames are put
//! together again here: the tables that have a say ([`needed`]) are read side by side in the order of host, zone and
//! time, and whatever they have of one moment becomes one frame. Memory: two frames, and a batch of each table.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{Float64Builder, RecordBatch, StringBuilder, TimestampNanosecondBuilder, UInt64Builder};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{TryStreamExt, stream};
use zonescope_proto::resource::{READS, Usage, usage};
use zonescope_proto::v1;

use super::derived::{LOOK_BACK_NS, base_filters, in_series_order};
use super::frames::Frames;
use super::stored::StoredTable;
use crate::schema::{COMMON, FRAMES, HOST, TIME, ZONE, ZONE_ID, time_type};

/// What is read of the header: the rest of [`READS`]' frame is in the tables of its families.
const HEADER: (&str, &[&str]) = (FRAMES.table, &["boot_time"]);

/// The tables that are read, and which of their columns.
pub fn needed() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    std::iter::once(HEADER).chain(READS.iter().copied())
}

/// Rows of a batch that comes out.
const BATCH_ROWS: usize = 8192;

/// The table `use`.
#[derive(Debug)]
pub struct UsageTable {
    tables: Vec<Arc<StoredTable>>,
    schema: SchemaRef,
}

impl UsageTable {
    /// Made of the tables of [`needed`], in that order.
    pub fn new(tables: Vec<Arc<StoredTable>>) -> Self {
        UsageTable { tables, schema: usage_schema() }
    }
}

/// The schema of `use`.
pub fn usage_schema() -> SchemaRef {
    let describe = |field: Field, unit: &str, help: &str| {
        let texts = [("unit", unit), ("help", help)];
        field.with_metadata(
            texts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        )
    };
    let number = |name: &str, unit, help| describe(Field::new(name, DataType::Float64, true), unit, help);
    Arc::new(Schema::new(vec![
        describe(Field::new(COMMON[HOST], DataType::Utf8, false), "", "Name of the host"),
        describe(Field::new(COMMON[ZONE], DataType::Utf8, false), "", "Name of the zone"),
        describe(Field::new(COMMON[ZONE_ID], DataType::UInt64, false), "", "The zone's number"),
        describe(Field::new(COMMON[TIME], time_type(), false), "ns", "The tick"),
        describe(Field::new("resource", DataType::Utf8, false), "", "cpu, memory, disk or net"),
        number("utilization", "share", "Busy share of the capacity, 0 to 1; more where a cap can be burst"),
        number("saturation", "see saturation_unit", "Work that had to wait"),
        describe(Field::new("saturation_unit", DataType::Utf8, true), "", "Unit of saturation"),
        number("errors", "1/s", "Failures per second"),
        number("cap", "CPUs or bytes", "The zone's own limit; NULL where it has none"),
        number("throttled", "s/s", "Held back by a cap or throttle: waiting per second, summed over threads"),
    ]))
}

#[async_trait]
impl TableProvider for UsageTable {
    fn schema(&self) -> SchemaRef {
        super::stored::bare(&self.schema)
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
        let series = [COMMON[HOST], COMMON[ZONE]];
        let order = [COMMON[HOST], COMMON[ZONE], COMMON[TIME]];
        let mut inputs = Vec::new();
        for ((name, columns), table) in needed().zip(&self.tables) {
            let columns: Vec<&str> = COMMON.iter().chain(columns).copied().collect();
            let filters = base_filters(filters, &series);
            inputs.push(in_series_order(state, name, Arc::clone(table) as _, &columns, &order, filters).await?);
        }
        let partitions = inputs.iter().map(|i| i.output_partitioning().partition_count()).min().unwrap_or(0);
        let inputs: Arc<[Arc<dyn ExecutionPlan>]> = inputs.into();
        let schema = TableProvider::schema(self);
        let stream = |partition| {
            let (inputs, schema) = (Arc::clone(&inputs), Arc::clone(&schema));
            Arc::new(UsageStream { inputs, partition, schema }) as Arc<dyn PartitionStream>
        };
        let streams = (0..partitions).map(stream).collect();
        Ok(Arc::new(StreamingTableExec::try_new(Arc::clone(&schema), streams, projection, [], false, None)?))
    }
}

/// One partition: all tables' rows of some zones.
#[derive(Debug)]
struct UsageStream {
    inputs: Arc<[Arc<dyn ExecutionPlan>]>,
    partition: usize,
    schema: SchemaRef,
}

impl PartitionStream for UsageStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let tables = needed()
            .zip(self.inputs.iter())
            .map(|((name, columns), input)| Ok((name, columns, input.execute(self.partition, Arc::clone(&ctx))?)));
        let frames = tables.collect::<Result<Vec<_>>>().and_then(Frames::new);
        let schema = Arc::clone(&self.schema);
        let batches = stream::once(std::future::ready(frames)).map_ok(move |frames| {
            let usages = Usages { frames, previous: None };
            let schema = Arc::clone(&schema);
            stream::try_unfold(usages, move |mut usages| {
                let schema = Arc::clone(&schema);
                async move { Ok(usages.batch(&schema).await?.map(|batch| (batch, usages))) }
            })
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.try_flatten()))
    }
}

/// The usages of one frame after another.
struct Usages {
    frames: Frames,
    previous: Option<v1::Frame>,
}

impl Usages {
    /// The next rows; `None` at the end.
    async fn batch(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let mut rows = Rows::new();
        while rows.len < BATCH_ROWS {
            let Some(frame) = self.frames.next().await? else { break };
            let previous = self.previous.take().filter(|p| follows(p, &frame));
            rows.push(&frame, &usage(previous.as_ref(), &frame));
            self.previous = Some(frame);
        }
        if rows.len == 0 { Ok(None) } else { rows.finish(schema).map(Some) }
    }
}

/// Whether `frame` is of the same zone, and not too long after.
fn follows(previous: &v1::Frame, frame: &v1::Frame) -> bool {
    let (Some(a), Some(b)) = (&previous.header, &frame.header) else { return false };
    let name = |h: &v1::Header| h.zone.as_ref().map(|z| z.name.clone());
    a.host == b.host && name(a) == name(b) && b.time.saturating_sub(a.time) <= LOOK_BACK_NS.cast_unsigned()
}

/// Rows of `use` being made.
struct Rows {
    host: StringBuilder,
    zone: StringBuilder,
    zone_id: UInt64Builder,
    time: TimestampNanosecondBuilder,
    resource: StringBuilder,
    saturation_unit: StringBuilder,
    /// utilization, saturation, errors, cap, throttled
    numbers: [Float64Builder; 5],
    len: usize,
}

impl Rows {
    fn new() -> Self {
        Rows {
            host: StringBuilder::new(),
            zone: StringBuilder::new(),
            zone_id: UInt64Builder::new(),
            time: TimestampNanosecondBuilder::new().with_timezone("UTC"),
            resource: StringBuilder::new(),
            saturation_unit: StringBuilder::new(),
            numbers: Default::default(),
            len: 0,
        }
    }

    fn push(&mut self, frame: &v1::Frame, usages: &[Usage]) {
        let Some(header) = &frame.header else { return };
        for usage in usages {
            self.host.append_value(&header.host);
            self.zone.append_value(header.zone.as_ref().map_or("", |z| &z.name));
            self.zone_id.append_value(header.zone.as_ref().map_or(0, |z| z.id));
            self.time.append_value(header.time.cast_signed());
            self.resource.append_value(usage.resource.name());
            self.saturation_unit.append_option(usage.saturation.map(|_| usage.saturation_unit));
            let values = [usage.utilization, usage.saturation, usage.errors, usage.cap, usage.throttled];
            for (column, value) in self.numbers.iter_mut().zip(values) {
                column.append_option(value);
            }
            self.len += 1;
        }
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let [utilization, saturation, errors, cap, throttled] =
            self.numbers.each_mut().map(|n| Arc::new(n.finish()) as _);
        let columns = vec![
            Arc::new(self.host.finish()) as _,
            Arc::new(self.zone.finish()) as _,
            Arc::new(self.zone_id.finish()) as _,
            Arc::new(self.time.finish()) as _,
            Arc::new(self.resource.finish()) as _,
            utilization,
            saturation,
            Arc::new(self.saturation_unit.finish()) as _,
            errors,
            cap,
            throttled,
        ];
        Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
    }
}
