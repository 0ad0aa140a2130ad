//! How complete an answer is: of all frames that were due in the time that a question was about, how many are stored,
//! and where the others are missing.
//!
//! Counted in whole minutes, out of the table `completeness`; reasons come from `gaps`. Two things no count can tell are
//! said beside it: that a generator died, and took with it frames of which nobody knows how many; and that a host has not
//! been heard of lately, so that nobody knows yet what is missing.

mod ask;
mod people;

use std::collections::{BTreeMap, BTreeSet};
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
use crate::schema::{COMMON, COMPLETENESS, HOST, TIME, ZONE, ZONE_ID};

/// A minute, in ns.
const MINUTE: i64 = 60_000_000_000;
/// A host whose newest frame is of a minute that ended longer ago than this is not heard of.
const SILENCE: i64 = MINUTE;

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
        let minutes = self.rows(&ask::minutes(scope)).await?;
        let hosts = self.rows(&ask::hosts(scope)).await?;
        let gaps = self.rows(&ask::gaps(scope)).await?;
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

fn instant(ns: i64) -> String {
    Timestamp::from_nanosecond(ns.into()).unwrap_or_default().to_string()
}

fn minute(ns: i64) -> i64 {
    ns.saturating_sub(ns.rem_euclid(MINUTE))
}

/// One zone's row of [`ask::minutes`].
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
    batch.column(column).as_string_view().value(row).to_owned()
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
    let Causes { reasons, died } = causes(gaps, from, to);
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

/// What gaps say of the time between two instants.
#[derive(Default)]
struct Causes {
    /// Why frames of each host and zone are missing.
    reasons: BTreeMap<(String, String), BTreeSet<String>>,
    /// Hosts whose generator died, and when.
    died: Vec<Moment>,
}

fn causes(gaps: &[RecordBatch], from: i64, to: i64) -> Causes {
    let mut causes = Causes::default();
    for (batch, row) in gaps.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row))) {
        let time = batch.column(2).as_primitive::<TimestampNanosecondType>().value(row);
        let host = text(batch, 0, row);
        let Some(count) = number(batch, 4, row) else {
            if (from..to).contains(&time) {
                causes.died.push(Moment { host, time: instant(time) });
            }
            continue;
        };
        let interval_ns = number(batch, 5, row).unwrap_or(0).saturating_mul(1_000_000);
        let end = time.saturating_add_unsigned(count.saturating_sub(1).saturating_mul(interval_ns));
        if time < to && end >= from {
            causes.reasons.entry((host, text(batch, 1, row))).or_default().insert(text(batch, 3, row));
        }
    }
    causes
}
