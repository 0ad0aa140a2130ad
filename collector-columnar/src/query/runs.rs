//! `group by zone`, without looking at the zone of every row.
//!
//! Rows lie in series: thousands of one zone follow each other, and within it of one device or core. An aggregation that
//! hashes the name in each row spends most of its time on names. Here a name is looked up where it changes, and the rows until
//! the next change are of the same group. Where rows come in another order the answer is the same, only later; so this is done
//! where they come as they lie in files.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{partition, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::{StreamExt, TryStreamExt, stream};
use zonescope_proto::Kind;

use crate::limits::GROUPS_KEPT;
use crate::schema::{COMMON, HOST, ZONE, ZONE_ID, known_tables};

/// What tells series apart, in any table that is known.
static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let labels = known_tables().flat_map(|family| family.fields).filter(|f| f.kind == Kind::Label).map(|f| f.name);
    [HOST, ZONE, ZONE_ID].map(|place| COMMON[place]).into_iter().chain(labels).collect()
});

/// The same plan, where aggregations by what tells series apart go by runs.
///
/// # Errors
/// Where DataFusion cannot put the plan together again.
pub fn by_runs(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let rewritten = plan.transform_up(|node| {
        let rewritten = node.downcast_ref::<AggregateExec>().filter(|a| goes_by_runs(a)).map(rewrite).transpose()?;
        Ok(rewritten.map_or_else(|| Transformed::no(Arc::clone(&node)), Transformed::yes))
    })?;
    Ok(rewritten.data)
}

fn goes_by_runs(aggregate: &AggregateExec) -> bool {
    let group = aggregate.group_expr();
    let schema = aggregate.input().schema();
    let is_name = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<Column>().is_some_and(|column| {
            let ty = schema.field(column.index()).data_type();
            NAMES.contains(&column.name()) && matches!(ty, DataType::Utf8View | DataType::UInt64)
        })
    };
    matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single)
        && group.is_single()
        && !group.is_empty()
        && group.expr().iter().all(|(expr, _)| is_name(expr))
        && aggregate.aggr_expr().iter().all(|a| a.groups_accumulator_supported() && a.order_bys().is_empty())
        && aggregate.limit_options().is_none()
        && is_in_series(aggregate.input())
}

/// Whether rows come as they lie in files, some perhaps left out.
fn is_in_series(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let passes_on = plan.is::<FilterExec>()
        || plan.is::<UnionExec>()
        || plan
            .downcast_ref::<RepartitionExec>()
            .is_some_and(|r| matches!(r.partitioning(), Partitioning::RoundRobinBatch(_)));
    plan.is::<DataSourceExec>() || (passes_on && plan.children().into_iter().all(is_in_series))
}

fn rewrite(aggregate: &AggregateExec) -> Result<Arc<dyn ExecutionPlan>> {
    if *aggregate.mode() == AggregateMode::Partial {
        return runs(aggregate);
    }
    // In two steps, so that the first need not keep all groups.
    let of = |mode, group, input| {
        let (aggregates, filters) = (aggregate.aggr_expr().to_vec(), aggregate.filter_expr().to_vec());
        AggregateExec::try_new(mode, group, aggregates, filters, input, aggregate.input_schema())
    };
    let group = aggregate.group_expr();
    let first = of(AggregateMode::Partial, group.clone(), Arc::clone(aggregate.input()))?;
    Ok(Arc::new(of(AggregateMode::Final, group.as_final(), runs(&first)?)?))
}

/// What a partial aggregation does, by runs.
fn runs(aggregate: &AggregateExec) -> Result<Arc<dyn ExecutionPlan>> {
    let stream = |partition| {
        let names = aggregate.group_expr().input_exprs();
        let (functions, filters) = (aggregate.aggr_expr().to_vec(), aggregate.filter_expr().to_vec());
        let input = Arc::clone(aggregate.input());
        Arc::new(RunsStream { input, partition, names, functions, filters, schema: aggregate.schema() })
            as Arc<dyn PartitionStream>
    };
    let streams = (0..aggregate.input().output_partitioning().partition_count()).map(stream).collect();
    Ok(Arc::new(StreamingTableExec::try_new(aggregate.schema(), streams, None, [], false, None)?))
}

/// One partition.
#[derive(Debug)]
struct RunsStream {
    input: Arc<dyn ExecutionPlan>,
    partition: usize,
    names: Vec<Arc<dyn PhysicalExpr>>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// Names, then the states of all functions.
    schema: SchemaRef,
}

impl PartitionStream for RunsStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        // Fused: the last groups are taken at its end, and then it is asked once more.
        let begun = self.input.execute(self.partition, ctx).and_then(|input| Ok((input.fuse(), Groups::new(self)?)));
        let batches = stream::once(std::future::ready(begun)).map(|begun| {
            begun.map(|begun| {
                stream::try_unfold(begun, |(mut input, mut groups)| async move {
                    while let Some(batch) = input.next().await.transpose()? {
                        groups.add(&batch)?;
                        if groups.numbers.len() >= GROUPS_KEPT {
                            break;
                        }
                    }
                    Ok(groups.take()?.map(|batch| (batch, (input, groups))))
                })
            })
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.try_flatten()))
    }
}

/// What has been aggregated, by name.
struct Groups {
    names: Vec<Arc<dyn PhysicalExpr>>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    schema: SchemaRef,
    converter: RowConverter,
    /// The number of each group.
    numbers: HashMap<OwnedRow, usize>,
    /// Of each function, with a state for each group.
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    /// The group of each row of a batch.
    group_of: Vec<usize>,
}

impl Groups {
    fn new(of: &RunsStream) -> Result<Self> {
        let fields = of.schema.fields().iter().take(of.names.len()).map(|f| SortField::new(f.data_type().clone()));
        let accumulators = of.functions.iter().map(|f| f.create_groups_accumulator()).collect::<Result<_>>()?;
        Ok(Groups {
            names: of.names.clone(),
            functions: of.functions.clone(),
            filters: of.filters.clone(),
            schema: Arc::clone(&of.schema),
            converter: RowConverter::new(fields.collect())?,
            numbers: HashMap::new(),
            accumulators,
            group_of: Vec::new(),
        })
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let evaluate = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let names = self.names.iter().map(evaluate).collect::<Result<Vec<_>>>()?;
        let begins = begins(&names, rows)?;
        let firsts = names.iter().map(|name| take(name, &begins, None)).collect::<std::result::Result<Vec<_>, _>>()?;
        self.group_of.clear();
        let ends = begins.values().iter().skip(1).map(|end| *end as usize).chain([rows]);
        for (key, end) in self.converter.convert_columns(&firsts)?.iter().zip(ends) {
            let next = self.numbers.len();
            let number = *self.numbers.entry(key.owned()).or_insert(next);
            self.group_of.resize(end, number);
        }
        for ((function, filter), accumulator) in self.functions.iter().zip(&self.filters).zip(&mut self.accumulators) {
            let arguments = function.expressions().iter().map(evaluate).collect::<Result<Vec<_>>>()?;
            let filter = filter.as_ref().map(evaluate).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&arguments, &self.group_of, filter, self.numbers.len())?;
        }
        Ok(())
    }

    /// Names and states of all groups, which are then forgotten; `None` where there are none.
    fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.numbers.is_empty() {
            return Ok(None);
        }
        let mut keys: Vec<_> = self.numbers.drain().collect();
        keys.sort_unstable_by_key(|(_, number)| *number);
        let mut columns = self.converter.convert_rows(keys.iter().map(|(key, _)| key.row()))?;
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(Some(RecordBatch::try_new(Arc::clone(&self.schema), columns)?))
    }
}

/// Where runs begin: rows in which any column differs from the row before, and the first.
fn begins(columns: &[ArrayRef], rows: usize) -> Result<UInt32Array> {
    let mut is_begin = vec![false; rows];
    is_begin.iter_mut().take(1).for_each(|first| *first = true);
    for column in columns {
        let marks = is_begin.iter_mut().skip(1);
        match column.data_type() {
            // A view is length and place of its text. Texts of one place are one; one text of two places makes two runs, which is right too.
            DataType::Utf8View if column.null_count() == 0 => {
                let views = column.as_string_view().views();
                marks.zip(views.windows(2)).for_each(|(mark, pair)| *mark |= pair[0] != pair[1]);
            }
            DataType::UInt64 if column.null_count() == 0 => {
                let values = column.as_primitive::<UInt64Type>().values();
                marks.zip(values.windows(2)).for_each(|(mark, pair)| *mark |= pair[0] != pair[1]);
            }
            _ => {
                let runs = partition(&[Arc::clone(column)])?.ranges();
                runs.into_iter().for_each(|run| is_begin[run.start] = true);
            }
        }
    }
    Ok(is_begin.iter().zip(0..).filter(|(begin, _)| **begin).map(|(_, row)| row).collect::<Vec<u32>>().into())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Float64Array, StringViewArray, UInt64Array};
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::physical_plan::{collect, displayable};
    use datafusion::prelude::{SessionConfig, SessionContext};
    use proptest::prelude::*;

    use super::*;

    type Row = (Option<u8>, u64, Option<f64>);

    fn batch(rows: &[Row]) -> RecordBatch {
        let zones: StringViewArray =
            rows.iter().map(|(zone, ..)| zone.map(|z| format!("a zone of a longer name, {z}"))).collect();
        let cores: UInt64Array = rows.iter().map(|(_, core, _)| Some(*core)).collect();
        let samples: Float64Array = rows.iter().map(|(_, _, samples)| *samples).collect();
        let columns: [(&str, ArrayRef); 3] =
            [("zone", Arc::new(zones)), ("core", Arc::new(cores)), ("samples", Arc::new(samples))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// The answer, and how it was come by.
    async fn answer(batches: Vec<RecordBatch>, threads: usize, sql: &str, runs: bool) -> (String, String) {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(threads));
        let table = MemTable::try_new(batches[0].schema(), vec![batches]).unwrap();
        context.register_table("oncpu_core", Arc::new(table)).unwrap();
        let mut plan = context.sql(sql).await.unwrap().create_physical_plan().await.unwrap();
        if runs {
            plan = by_runs(plan).unwrap();
        }
        let how = displayable(plan.as_ref()).indent(false).to_string();
        let rows = collect(plan, context.task_ctx()).await.unwrap();
        (pretty_format_batches(&rows).unwrap().to_string(), how)
    }

    const FUNCTIONS: &str = "count(*), count(samples), sum(samples), min(samples), max(samples), avg(samples), \
        stddev(samples), sum(samples) filter (where core = 1), count(distinct core)";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn runs_of_any_length_give_what_a_look_at_every_row_gives(
            runs in prop::collection::vec(((prop::option::of(0..4u8), 0..3u64, prop::option::of((-9..9i32).prop_map(f64::from))), 1..40usize), 1..40),
            cut in 1..200usize,
            threads in 1..3usize,
        ) {
            let rows: Vec<Row> = runs.iter().flat_map(|(row, length)| std::iter::repeat_n(*row, *length)).collect();
            let batches: Vec<RecordBatch> = rows.chunks(cut).map(batch).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            for names in ["zone", "core", "zone, core", "core, zone"] {
                for filter in ["", "where samples > 0"] {
                    let sql = format!("select {names}, {FUNCTIONS} from oncpu_core {filter} group by {names} order by {names}");
                    let (by_row, _) = runtime.block_on(answer(batches.clone(), threads, &sql, false));
                    let (by_run, how) = runtime.block_on(answer(batches.clone(), threads, &sql, true));
                    prop_assert!(how.contains("StreamingTableExec"), "{how}");
                    prop_assert_eq!(by_run, by_row, "{}", sql);
                }
            }
        }
    }

    #[tokio::test]
    async fn more_groups_than_are_kept_are_passed_on_and_still_one_each() {
        let half: Vec<Row> = (0..GROUPS_KEPT as u64 * 3 / 4).map(|core| (Some(1), core, Some(1.0))).collect();
        let other: Vec<Row> = half.iter().map(|(zone, core, samples)| (*zone, core * 2, *samples)).collect();
        let sql = "select count(*), sum(n), max(n) from (select core, count(*) n from oncpu_core group by core)";
        let batches = || vec![batch(&half), batch(&other), batch(&half)];
        let (by_row, _) = answer(batches(), 1, sql, false).await;
        let (by_run, how) = answer(batches(), 1, sql, true).await;
        assert!(how.contains("StreamingTableExec"), "{how}");
        assert_eq!(by_run, by_row);
    }

    #[tokio::test]
    async fn what_does_not_lie_in_runs_is_left_alone() {
        for sql in [
            "select samples, count(*) from oncpu_core group by samples",
            "select zone, string_agg(zone, ',' order by core) from oncpu_core group by zone",
            "select upper(zone), count(*) from oncpu_core group by upper(zone)",
            "select zone, sum(samples) from (select * from oncpu_core order by samples limit 5) group by zone",
            "select sum(samples) from oncpu_core",
        ] {
            let (_, how) = answer(vec![batch(&[(Some(1), 1, Some(1.0))])], 1, sql, true).await;
            assert!(!how.contains("StreamingTableExec"), "{sql}\n{how}");
        }
    }
}
