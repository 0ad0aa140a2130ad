//! How complete an answer is: of all frames that were due in the time that a question was about, how many are stored,
//! and where the others are missing.
//!
//! Counted in whole minutes, out of the table `completeness`; reasons come from `gaps`. Two things no count can tell are
//! said beside it: that a generator died, and took with it frames of which nobody knows how many; and that a host has not
//! been heard of lately, so that nobody knows yet what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{SchemaRef, TimestampNanosecondType, UInt64Type};
use datafusion::catalog::TableProvider;
use datafusion::common::Result;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::{max, sum};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::prelude::col;
use jiff::Timestamp;
use serde::Serialize;

use super::scope::Scope;
use super::stored::StoredTable;
use super::{Answer, Engine, QueryError};
use crate::schema::{COMMON, COMPLETENESS, GAPS, HOST, TIME, ZONE, ZONE_ID};

/// A minute, in ns.
const MINUTE: i64 = 60_000_000_000;
/// So far back are hosts looked for that are not heard of any more, and gaps that began before the time.
const DAY: i64 = 24 * 60 * MINUTE;
/// A host whose newest frame is of a minute that ended longer ago than this is not heard of.
const SILENCE: i64 = MINUTE;
/// Lines for people about where frames are missing; the sum is over all.
const LISTED: usize = 10;

/// The table `completeness` in SQL: one row a minute, whatever the number of rows in the files.
///
/// # Errors
/// Where its columns are not those of the table: a defect of ours.
pub fn view(stored: Arc<StoredTable>) -> Result<Arc<dyn TableProvider>> {
    let counts = || COMPLETENESS.fields.iter().map(|f| f.name);
    let keys = [COMMON[HOST], COMMON[ZONE], COMMON[TIME]];
    let newest = max(col(COMMON[ZONE_ID])).alias(COMMON[ZONE_ID]);
    let sums = counts().map(|name| sum(col(name)).alias(name));
    let plan = LogicalPlanBuilder::scan(COMPLETENESS.table, provider_as_source(stored), None)?
        .aggregate(keys.map(col), std::iter::once(newest).chain(sums))?
        .project(COMMON.into_iter().chain(counts()).map(col))?
        .build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// How complete an answer is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Report {
    /// The first minute, RFC 3339.
    pub from: String,
    /// The end of the last minute.
    pub to: String,
    /// Hosts of which something is on record.
    pub hosts: usize,
    /// Zones of which something is on record.
    pub zones: usize,
    /// Frames that were due, as far as that is known; the hosts' own announcements among them.
    pub expected: u64,
    /// Frames that are stored.
    pub received: u64,
    /// Of these, those that were missed and asked for.
    pub recovered: u64,
    /// Frames that will never come.
    pub missing: u64,
    /// Where they are missing, the most first.
    pub incomplete: Vec<Incomplete>,
    /// Hosts whose generator died.
    pub died: Vec<Moment>,
    /// Hosts that are not heard of any more.
    pub silent: Vec<Moment>,
}

/// A zone of which frames are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// Its host.
    pub host: String,
    /// Its name; empty for the host's own announcements.
    pub zone: String,
    /// How many frames are missing.
    pub missing: u64,
    /// The first minute in which one is, RFC 3339.
    pub from: String,
    /// The end of the last such minute.
    pub to: String,
    /// Why, as far as that is on record.
    pub reasons: BTreeSet<String>,
}

/// Something that happened on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Which host.
    pub host: String,
    /// When, RFC 3339; of silence, the end of the last minute that is known.
    pub time: String,
}

impl Engine {
    /// How complete the store is in that scope. `now` in ns since 1970 UTC.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn completeness(&self, scope: &Scope, now: u64) -> Result<Report, QueryError> {
        let minutes = self.rows(&minutes_sql(scope)).await?;
        let hosts = self.rows(&hosts_sql(scope)).await?;
        let gaps = self.rows(&gaps_sql(scope)).await?;
        Ok(report(scope, now.cast_signed(), &minutes, &hosts, &gaps))
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, QueryError> {
        let mut rows = Rows::default();
        self.answer(sql, &mut rows).await?;
        Ok(rows.0)
    }
}

/// An answer that we ask for ourselves.
#[derive(Default)]
struct Rows(Vec<RecordBatch>);

impl Answer for Rows {
    fn begin(&mut self, _schema: SchemaRef) -> io::Result<()> {
        self.0.clear();
        Ok(())
    }

    fn rows(&mut self, batch: &RecordBatch) -> io::Result<()> {
        self.0.push(batch.clone());
        Ok(())
    }

    fn can_begin_anew(&self) -> bool {
        true
    }
}

/// Each zone's minutes, as far as they are of interest: the sum, where it lacks something, and how far it goes.
fn minutes_sql(scope: &Scope) -> String {
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
fn hosts_sql(scope: &Scope) -> String {
    let any_zone = Scope { zones: Some([String::new()].into()), ..scope.clone() };
    let conditions = conditions(&any_zone, scope.range.from.saturating_sub(DAY));
    format!("select host, max(time) as last from {} where {conditions} group by host order by host", COMPLETENESS.table)
}

/// Gaps that may reach into the time; whatever the zones, those of the hosts, which tell of generators that died.
fn gaps_sql(scope: &Scope) -> String {
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

fn instant(ns: i64) -> String {
    Timestamp::from_nanosecond(ns.into()).unwrap_or_default().to_string()
}

fn minute(ns: i64) -> i64 {
    ns.saturating_sub(ns.rem_euclid(MINUTE))
}

/// One zone's row of [`minutes_sql`].
struct ZoneRow {
    host: String,
    zone: String,
    first: i64,
    last: i64,
    counts: [u64; 3],
    bad: Option<(i64, i64)>,
}

fn zone_rows(batch: &RecordBatch) -> impl Iterator<Item = ZoneRow> + '_ {
    let time = |i: usize, row| {
        let column = batch.column(i).as_primitive::<TimestampNanosecondType>();
        column.is_valid(row).then(|| column.value(row))
    };
    (0..batch.num_rows()).map(move |row| ZoneRow {
        host: text(batch, 0, row),
        zone: text(batch, 1, row),
        first: time(2, row).unwrap_or_default(),
        last: time(3, row).unwrap_or_default(),
        counts: [4, 5, 6].map(|i| number(batch, i, row).unwrap_or(0)),
        bad: time(7, row).zip(time(8, row)),
    })
}

fn text(batch: &RecordBatch, column: usize, row: usize) -> String {
    batch.column(column).as_string::<i32>().value(row).to_owned()
}

fn number(batch: &RecordBatch, column: usize, row: usize) -> Option<u64> {
    let column = batch.column(column).as_primitive::<UInt64Type>();
    column.is_valid(row).then(|| column.value(row))
}

fn report(scope: &Scope, now: i64, minutes: &[RecordBatch], hosts: &[RecordBatch], gaps: &[RecordBatch]) -> Report {
    let rows: Vec<ZoneRow> = minutes.iter().flat_map(zone_rows).collect();
    let bounded = scope.range != super::range::TimeRange::ALL;
    let newest = rows.iter().map(|r| r.last.saturating_add(MINUTE)).max().unwrap_or(now);
    let oldest = rows.iter().map(|r| r.first).min().unwrap_or(now);
    let from = if scope.range.from == i64::MIN { oldest } else { minute(scope.range.from) };
    // What is asked of all there is ends where that ends.
    let to = if bounded { scope.range.to.min(now) } else { newest - 1 };
    let to = minute(to).saturating_add(MINUTE);

    let mut report = Report {
        from: instant(from),
        to: instant(to),
        zones: rows.iter().filter(|r| !r.zone.is_empty()).count(),
        ..Report::default()
    };
    let (reasons, died) = reasons(gaps, from, to);
    report.died = died;
    for row in &rows {
        let [received, recovered, missing] = row.counts;
        report.received += received;
        report.recovered += recovered;
        report.missing = report.missing.saturating_add(missing);
        if let Some((first, last)) = row.bad {
            let (host, zone) = (row.host.clone(), row.zone.clone());
            let reasons = reasons.get(&(host.clone(), zone.clone())).cloned().unwrap_or_default();
            let (from, to) = (instant(first), instant(last.saturating_add(MINUTE)));
            report.incomplete.push(Incomplete { host, zone, missing, from, to, reasons });
        }
    }
    report.expected = report.received.saturating_add(report.missing);
    report
        .incomplete
        .sort_by(|a, b| b.missing.cmp(&a.missing).then_with(|| (&a.host, &a.zone).cmp(&(&b.host, &b.zone))));
    report.hosts = rows.iter().map(|r| &r.host).collect::<BTreeSet<_>>().len();
    for (batch, row) in hosts.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row))) {
        let last = batch.column(1).as_primitive::<TimestampNanosecondType>().value(row);
        let known_to = last.saturating_add(MINUTE);
        if bounded && known_to.saturating_add(SILENCE) <= scope.range.to.min(now) {
            report.silent.push(Moment { host: text(batch, 0, row), time: instant(known_to) });
        }
    }
    report
}

/// Why frames of each host and zone are missing between two times, and whose generator died then.
#[allow(clippy::type_complexity, reason = "host and zone, read once, just above")]
fn reasons(gaps: &[RecordBatch], from: i64, to: i64) -> (BTreeMap<(String, String), BTreeSet<String>>, Vec<Moment>) {
    let (mut reasons, mut died) = (BTreeMap::<_, BTreeSet<String>>::new(), Vec::new());
    for (batch, row) in gaps.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row))) {
        let time = batch.column(2).as_primitive::<TimestampNanosecondType>().value(row);
        let host = text(batch, 0, row);
        let Some(count) = number(batch, 4, row) else {
            if (from..to).contains(&time) {
                died.push(Moment { host, time: instant(time) });
            }
            continue;
        };
        let interval_ns = number(batch, 5, row).unwrap_or(0).saturating_mul(1_000_000);
        let end = time.saturating_add_unsigned(count.saturating_sub(1).saturating_mul(interval_ns));
        if time < to && end >= from {
            reasons.entry((host, text(batch, 1, row))).or_default().insert(text(batch, 3, row));
        }
    }
    (reasons, died)
}

impl Report {
    /// For people: one line where all is well, else what is missing where.
    pub fn for_people(&self) -> String {
        let mut text = String::new();
        let Report { expected, received, recovered, missing, from, to, .. } = self;
        let span = span(from, to);
        let of = format!("{} of {} frames", grouped(*received), grouped(*expected));
        let asked = if *recovered > 0 { format!(", {} of them recovered", grouped(*recovered)) } else { String::new() };
        let s = |n: usize| if n == 1 { "" } else { "s" };
        let whose = format!("{} zone{} on {} host{}", self.zones, s(self.zones), self.hosts, s(self.hosts));
        let _ = match (*expected, *missing) {
            (0, _) => writeln!(text, "nothing is on record {span}: no frames came, and none are known to be missing"),
            (_, 0) => writeln!(text, "complete: {of}{asked}; {whose}, {span}"),
            _ => {
                let share = 100.0 * (*received as f64 / *expected as f64);
                // Not all is never 100 %.
                let share = (share * 100.0).floor() / 100.0;
                writeln!(text, "INCOMPLETE: {of} ({share:.2} %){asked}, {} missing; {whose}, {span}", grouped(*missing))
            }
        };
        self.list(&mut text);
        for Moment { host, time } in &self.died {
            let _ = writeln!(
                text,
                "  {host}: its generator died about {}: how many frames went with it nobody knows",
                short(time)
            );
        }
        for Moment { host, time } in &self.silent {
            let _ = writeln!(text, "  {host}: nothing since {}: is its generator down, or the collector?", short(time));
        }
        text
    }

    /// Where frames are missing: what zones of a host have in common in one line.
    fn list(&self, text: &mut String) {
        type Alike<'a> = (&'a str, &'a str, &'a str, &'a BTreeSet<String>);
        let mut alike: Vec<(Alike<'_>, Vec<&Incomplete>)> = Vec::new();
        for zone in &self.incomplete {
            let key: Alike<'_> = (&zone.host, &zone.from, &zone.to, &zone.reasons);
            match alike.iter_mut().find(|(k, _)| *k == key) {
                Some((_, zones)) => zones.push(zone),
                None => alike.push((key, vec![zone])),
            }
        }
        for ((host, from, to, reasons), zones) in alike.iter().take(LISTED) {
            let whose = match zones.as_slice() {
                [one] if one.zone.is_empty() => "its announcements".to_owned(),
                [one] => one.zone.clone(),
                many => format!("{} zones", many.iter().filter(|z| !z.zone.is_empty()).count()),
            };
            let missing = grouped(zones.iter().map(|z| z.missing).fold(0, u64::saturating_add));
            let why = reasons.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "  {host}, {whose}: {missing} missing {}: {why}", span(from, to));
        }
        if alike.len() > LISTED {
            let _ = writeln!(text, "  and more: see the table {}", GAPS.table);
        }
    }
}

/// `2025-11-21 08:00 to 09:00 UTC`
fn span(from: &str, to: &str) -> String {
    let (from, to) = (short(from), short(to));
    let same_day = from.get(..10) == to.get(..10);
    format!("{from} to {} UTC", if same_day { to.get(11..).unwrap_or(&to) } else { &to })
}

/// An RFC 3339 time to the minute.
fn short(time: &str) -> String {
    time.get(..16).unwrap_or(time).replace('T', " ")
}

/// 21,600
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Report {
        let (from, to) = ("2025-11-21T08:00:00Z".to_owned(), "2025-11-21T09:00:00Z".to_owned());
        Report { from, to, hosts: 1, zones: 6, expected: 21_600, received: 21_600, ..Report::default() }
    }

    #[test]
    fn all_is_well_in_one_line() {
        let text = whole().for_people();
        assert_eq!(text, "complete: 21,600 of 21,600 frames; 6 zones on 1 host, 2025-11-21 08:00 to 09:00 UTC\n");
    }

    #[test]
    fn not_all_is_never_a_hundred_percent() {
        let report = Report { received: 999_999_999, expected: 1_000_000_000, missing: 1, ..whole() };
        let text = report.for_people();
        assert!(text.starts_with("INCOMPLETE: 999,999,999 of 1,000,000,000 frames (99.99 %), 1 missing"), "{text}");
    }
}
