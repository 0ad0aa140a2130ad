//! The live chain, through the crate kstat-rs: the one place that touches libkstat.
//!
//! What to know of the crate (0.2.5, src/lib.rs): a handle is consumed by an update and dies with a failed one, so it is opened anew
//! then; `ks_class` holds the kstat's *name*, so nothing here looks at it; a named kstat with one string that is not
//! UTF-8, or one statistic of an unknown type, cannot be read at all; kstats whose names are not UTF-8 are passed over.
//! Data borrows from the handle: it is handed on within the visit and never kept.

use std::sync::Arc;

use anyhow::Context;
use kstat_rs::{Ctl, Data, Intr, Io, NamedData, Timer};
use rustix::time::{ClockId, clock_gettime};
use zonescope_link::clock::Clock;

use super::chain::{Chain, Id, Kstat, Moment, Skipped, Stat, Visitor};

/// The chain of this host, or of this zone.
pub struct Live {
    ctl: Option<Ctl>,
    clock: Arc<dyn Clock>,
}

impl Live {
    /// Opens the chain.
    ///
    /// # Errors
    /// Where /dev/kstat cannot be opened.
    pub fn open(clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let ctl = Ctl::new().context("cannot open the kstat chain (/dev/kstat)")?;
        Ok(Live { ctl: Some(ctl), clock })
    }
}

impl Chain for Live {
    fn update(&mut self) -> Result<Option<Moment>, String> {
        let ctl = match self.ctl.take() {
            Some(ctl) => ctl.update(),
            None => Ctl::new(),
        };
        self.ctl = Some(ctl.map_err(|e| format!("cannot update the kstat chain: {e}"))?);
        Ok(Some(Moment {
            hrtime_ns: Some(hrtime_ns()),
            utc_ns: Some(self.clock.now_ns()),
            page_size: rustix::param::page_size() as u64,
        }))
    }

    fn visit(&self, visitor: &mut dyn Visitor) -> Skipped {
        let mut skipped = Skipped::default();
        let Some(ctl) = &self.ctl else { return skipped };
        for mut kstat in ctl.iter() {
            let id = Id { module: kstat.ks_module, instance: kstat.ks_instance, name: kstat.ks_name };
            if !visitor.wants(id) {
                continue;
            }
            let data = match ctl.read(&mut kstat) {
                Ok(data) => data,
                Err(error) => {
                    skipped.add(format_args!("{id}: {error}"));
                    continue;
                }
            };
            let Some(stats) = stats(&data) else {
                skipped.add(format_args!("{id} is raw: its layout is its driver's own"));
                continue;
            };
            let crtime_ns = u64::try_from(kstat.ks_crtime).ok();
            let snaptime_ns = u64::try_from(kstat.ks_snaptime).ok();
            visitor.kstat(&Kstat { id, crtime_ns, snaptime_ns, stats: &stats });
        }
        skipped
    }
}

/// hrtime is CLOCK_HIGHRES, which is CLOCK_MONOTONIC (clock_gettime(3C)).
fn hrtime_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn stats<'a>(data: &'a Data<'a>) -> Option<Vec<(&'a str, Stat<'a>)>> {
    match data {
        Data::Named(named) => Some(named.iter().map(|n| (n.name, named_stat(&n.value))).collect()),
        Data::Io(io) => Some(io_stats(io).to_vec()),
        Data::Intr(intr) => Some(intr_stats(intr).to_vec()),
        Data::Timer(timers) => Some(timers.iter().flat_map(timer_stats).collect()),
        Data::Raw(_) | Data::Null => None,
    }
}

fn named_stat<'a>(value: &NamedData<'a>) -> Stat<'a> {
    match *value {
        // CHAR[16], ended by a NUL where it is shorter.
        NamedData::Char(bytes) => {
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            Stat::Text(std::str::from_utf8(&bytes[..end]).unwrap_or(""))
        }
        NamedData::Int32(v) => signed(v.into()),
        NamedData::UInt32(v) => Stat::Uint(v.into()),
        NamedData::Int64(v) => signed(v),
        NamedData::UInt64(v) => Stat::Uint(v),
        NamedData::String(v) => Stat::Text(v),
    }
}

fn signed(value: i64) -> Stat<'static> {
    u64::try_from(value).map_or(Stat::Int(value), Stat::Uint)
}

/// The fields of a kstat_io by their names (kstat(3KSTAT)).
fn io_stats(io: &Io) -> [(&'static str, Stat<'static>); 12] {
    [
        ("nread", Stat::Uint(io.nread)),
        ("nwritten", Stat::Uint(io.nwritten)),
        ("reads", Stat::Uint(io.reads.into())),
        ("writes", Stat::Uint(io.writes.into())),
        ("wtime", signed(io.wtime)),
        ("wlentime", signed(io.wlentime)),
        ("wlastupdate", signed(io.wlastupdate)),
        ("rtime", signed(io.rtime)),
        ("rlentime", signed(io.rlentime)),
        ("rlastupdate", signed(io.rlastupdate)),
        ("wcnt", Stat::Uint(io.wcnt.into())),
        ("rcnt", Stat::Uint(io.rcnt.into())),
    ]
}

/// The fields of a kstat_intr as kstat(8) calls them (`save_intr`, cmd/stat/kstat/kstat.c).
fn intr_stats(intr: &Intr) -> [(&'static str, Stat<'static>); 5] {
    [
        ("hard", Stat::Uint(intr.hard.into())),
        ("soft", Stat::Uint(intr.soft.into())),
        ("watchdog", Stat::Uint(intr.watchdog.into())),
        ("spurious", Stat::Uint(intr.spurious.into())),
        ("multiple_service", Stat::Uint(intr.multisvc.into())),
    ]
}

/// The fields of a kstat_timer as kstat(8) calls them (`save_timer`).
fn timer_stats<'a>(timer: &Timer<'a>) -> [(&'static str, Stat<'a>); 7] {
    [
        ("name", Stat::Text(timer.name)),
        ("num_events", Stat::Uint(timer.num_events as u64)),
        ("elapsed_time", signed(timer.elapsed_time)),
        ("min_time", signed(timer.min_time)),
        ("max_time", signed(timer.max_time)),
        ("start_time", signed(timer.start_time)),
        ("stop_time", signed(timer.stop_time)),
    ]
}
