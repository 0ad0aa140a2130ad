//! What a question was about: which time, hosts and zones, told from the conditions under which its tables are read.

use std::collections::BTreeSet;

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::range::{TimeRange, texts};
use crate::schema::{COMMON, HOST, ZONE};

/// Time, hosts and zones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// From when to when.
    pub range: TimeRange,
    /// Which hosts; `None` for all.
    pub hosts: Option<BTreeSet<String>>,
    /// Which zones; `None` for all.
    pub zones: Option<BTreeSet<String>>,
}

impl Scope {
    /// Of an optimized plan: all that any of its scans may read. `None` where it reads no table of frames.
    pub fn of(plan: &LogicalPlan) -> Option<Self> {
        let mut scope: Option<Scope> = None;
        // Fails only where what it is given fails.
        let _ = plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && COMMON.iter().all(|name| scan.source.schema().index_of(name).is_ok())
            {
                let of_scan = Scope {
                    range: TimeRange::of(&scan.filters),
                    hosts: texts(&scan.filters, COMMON[HOST]),
                    zones: texts(&scan.filters, COMMON[ZONE]),
                };
                scope = Some(match scope.take() {
                    Some(scope) => scope.or(of_scan),
                    None => of_scan,
                });
            }
            Ok(TreeNodeRecursion::Continue)
        });
        scope
    }

    fn or(self, other: Self) -> Self {
        let union = |a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>| Some(&a? | &b?);
        Scope {
            range: self.range.or(other.range),
            hosts: union(self.hosts, other.hosts),
            zones: union(self.zones, other.zones),
        }
    }
}
