//! The questions behind a report, in SQL.

use std::collections::BTreeSet;

use super::{MINUTE, instant, minute};
use crate::query::scope::Scope;
use crate::schema::{COMMON, COMPLETENESS, GAPS, HOST, ZONE};

/// So far back are hosts looked for that are not heard of any more, and gaps that began before the time.
const DAY: i64 = 24 * 60 * MINUTE;

/// Each zone's minutes, as far as they are of interest: the sum, where it lacks something, and how far it goes.
pub(super) fn minutes(scope: &Scope) -> String {
    let conditions = conditions(scope, minute(scope.range.from));
    let bad = "filter (where missing > 0)";
    format!(
        "select host, zone, min(time) as first, max(time) as last, sum(received) as received, \
         sum(recovered) as recovered, sum(missing) as missing, min(time) {bad} as bad_first, max(time) {bad} as bad_last \
         from {} where {conditions} group by host, zone order by host, zone",
        COMPLETENESS.table
    )
}

/// When each host was last heard of, back to a day before the time. Host frames come each tick, whatever the zones.
pub(super) fn hosts(scope: &Scope) -> String {
    let any_zone = Scope { zones: Some([String::new()].into()), ..scope.clone() };
    let conditions = conditions(&any_zone, scope.range.from.saturating_sub(DAY));
    format!("select host, max(time) as last from {} where {conditions} group by host order by host", COMPLETENESS.table)
}

/// Gaps that may reach into the time; whatever the zones, those of the hosts, which tell of generators that died.
pub(super) fn gaps(scope: &Scope) -> String {
    let hosts_too = |zones: &BTreeSet<String>| zones.iter().cloned().chain([String::new()]).collect();
    let scope = Scope { zones: scope.zones.as_ref().map(hosts_too), ..scope.clone() };
    let conditions = conditions(&scope, scope.range.from.saturating_sub(DAY));
    format!(
        "select host, zone, time, reason, count, interval_ms from {} where {conditions} order by host, time",
        GAPS.table
    )
}

/// The hosts and zones of a scope, and its time, begun at `from`.
fn conditions(scope: &Scope, from: i64) -> String {
    let mut conditions = vec!["true".to_owned()];
    if scope.range.from != i64::MIN {
        conditions.push(format!("time >= '{}'", instant(from)));
    }
    if scope.range.to != i64::MAX {
        conditions.push(format!("time <= '{}'", instant(scope.range.to)));
    }
    for (column, names) in [(COMMON[HOST], &scope.hosts), (COMMON[ZONE], &scope.zones)] {
        let Some(names) = names else { continue };
        let names: Vec<String> = names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
        conditions.push(if names.is_empty() {
            "false".to_owned()
        } else {
            format!("{column} in ({})", names.join(", "))
        });
    }
    conditions.join(" and ")
}
