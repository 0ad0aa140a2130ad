//! What the derived tables (rates, use) have in common: they read base tables in series order, each series whole
//! within one stream, with a look-back so that the first row of a range has its predecessor.

use std::sync::Arc;

use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::ExecutionPlanProperties;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::range::{TimeRange, is_only_about};
use crate::limits::LOOK_BACK;
use crate::schema::{COMMON, HOST, ZONE};

/// How far back a predecessor may be, in ns.
pub const LOOK_BACK_NS: i64 = LOOK_BACK.as_nanos() as i64;

/// The filters that the base table may apply without taking away a predecessor: those on the columns that name a
/// series, and those on time, widened.
pub fn base_filters(filters: &[Expr], series: &[&str]) -> Vec<Expr> {
    let range = TimeRange::of(filters);
    let time = TimeRange { from: range.from, to: range.to }.looking_back(LOOK_BACK_NS).to_filter();
    let names = filters.iter().filter(|f| is_only_about(f, series)).cloned();
    names.chain(time).map(unqualified).collect()
}

fn unqualified(filter: Expr) -> Expr {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let bare = filter.clone().transform(|e| match e {
        Expr::Column(c) => Ok(Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(c.name)))),
        other => Ok(Transformed::no(other)),
    });
    bare.map_or(filter, |t| t.data)
}

/// Plans a read of `columns` of a table: partitioned by host and zone, each partition sorted by `order`. The
/// partitions of two tables that are read like this belong together.
pub async fn in_series_order(
    state: &dyn Session,
    name: &str,
    table: Arc<dyn TableProvider>,
    columns: &[&str],
    order: &[&str],
    filters: Vec<Expr>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let projection = columns.iter().map(|c| table.schema().index_of(c)).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut plan = LogicalPlanBuilder::scan(name, provider_as_source(table), None)?;
    if let Some(filter) = filters.into_iter().reduce(Expr::and) {
        plan = plan.filter(filter)?;
    }
    let plan = plan.select(projection)?.build()?;
    let read = state.create_physical_plan(&plan).await?;

    let schema = read.schema();
    let column =
        |name: &str| -> Result<Arc<dyn PhysicalExpr>> { Ok(Arc::new(Column::new_with_schema(name, &schema)?)) };
    let partitions = state.config().target_partitions();
    let read: Arc<dyn ExecutionPlan> = if partitions == 1 && read.output_partitioning().partition_count() == 1 {
        read
    } else {
        let keys = vec![column(COMMON[HOST])?, column(COMMON[ZONE])?];
        Arc::new(RepartitionExec::try_new(read, Partitioning::Hash(keys, partitions))?)
    };
    let order: Vec<PhysicalSortExpr> =
        order.iter().map(|c| Ok(PhysicalSortExpr::new_default(column(c)?))).collect::<Result<_>>()?;
    Ok(match LexOrdering::new(order) {
        Some(order) => Arc::new(SortExec::new(order, read).with_preserve_partitioning(true)),
        None => read,
    })
}
