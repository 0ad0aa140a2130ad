//! The visit that fills frames: finds each kstat's zone, and has the families that want it fill their rows.

use std::collections::HashSet;
use std::time::Instant;

use zonescope_proto::v1;

use super::chain::{Id, Kstat, Visitor};
use super::columns::{Columns, Fields, Oddity};
use super::custom::{self, Custom};
use super::families::host::Host;
use super::families::memory;
use super::families::{KstatFamily, Owner, Row};
use super::limits::MAX_NAMED;
use super::wanted;
use super::zones::Zones;

/// A family, and what it has seen.
pub(super) struct Working {
    family: &'static KstatFamily,
    columns: Columns,
    /// Unknown statistics that have been named in the log.
    named: HashSet<Box<str>>,
    errors: u64,
    drops: u64,
    /// This tick's.
    rows: u64,
    duration_ns: u64,
    error: Option<String>,
}

/// One tick's second visit.
pub(super) struct Reading<'a> {
    pub(super) working: &'a mut [Working],
    pub(super) custom: &'a mut Custom,
    pub(super) zones: &'a mut Zones,
    /// hrtime of the tick: what snaptime is told relative to. Where it is not known, the first snaptime.
    pub(super) hrtime_ns: Option<u64>,
    pub(super) host: Host,
}

impl Visitor for Reading<'_> {
    fn wants(&self, id: Id<'_>) -> bool {
        wanted(id) || self.custom.wants(id)
    }

    fn kstat(&mut self, kstat: &Kstat<'_>) {
        self.host.learn(kstat);
        for index in 0..self.working.len() {
            if (self.working[index].family.select)(kstat.id) {
                self.family(index, kstat);
            }
        }
        if self.custom.wants(kstat.id)
            && let Some(zone) = self.owner(custom::owner(kstat.id), kstat)
        {
            self.custom.fill(kstat, zone, self.zones.frame(zone));
        }
    }
}

impl Reading<'_> {
    fn family(&mut self, index: usize, kstat: &Kstat<'_>) {
        let started = Instant::now();
        let Some(zone) = self.owner(self.working[index].family.owner, kstat) else { return };
        let working = &mut self.working[index];
        let snaptime = kstat.snaptime_ns.map(|snap| {
            let reference = *self.hrtime_ns.get_or_insert(snap);
            snap.cast_signed().wrapping_sub(reference.cast_signed())
        });
        match (working.family.row)(self.zones.frame(zone), kstat) {
            Row::Fill(fields) => {
                working.rows += 1;
                working.fill(fields, kstat, snaptime);
            }
            Row::Done => working.rows += 1,
            Row::None => {}
        }
        working.duration_ns += u64::try_from(started.elapsed().as_nanos()).unwrap_or(0);
    }

    fn owner(&mut self, owner: Owner, kstat: &Kstat<'_>) -> Option<usize> {
        let zones = &mut *self.zones;
        match (owner, kstat.zonename()) {
            (Owner::Host, _) => Some(zones.global()),
            (Owner::Zone, Some(name)) => {
                let zone = zones.named(name);
                zones.note_id(zone, kstat.id.instance);
                Some(zone)
            }
            (_, Some(name)) => Some(zones.named(name)),
            (Owner::Zone | Owner::NumberedStack, None) => zones.numbered(kstat.id.instance),
            (Owner::Link, None) => Some(zones.global()),
            (Owner::Stack, None) => Some(zones.of_stack_zero()),
            (Owner::Vm, None) => Some(zones.of_vm(kstat.id.instance)),
        }
    }

    /// What was learnt of the host belongs to every zone: the capacity of those without a cap.
    pub(super) fn finish(self) {
        let host = self.host;
        if host.ncpus.is_some() {
            let own = self.zones.own();
            if let Some(cpu) = &mut self.zones.frame(own).cpu {
                host.fill_load(cpu);
            }
        }
        for frame in self.zones.frames() {
            if let Some(cpu) = &mut frame.cpu {
                cpu.ncpus = host.ncpus;
            }
            memory::normalise(frame, host.page_size);
            if let Some(memory) = &mut frame.memory {
                memory.physmem = host.physmem.and_then(|pages| pages.checked_mul(host.page_size));
            }
            if let Some(memory) = &mut frame.host_memory {
                memory.pagesize = Some(host.page_size);
            }
        }
    }
}

impl Working {
    pub(super) fn new(family: &'static KstatFamily) -> Self {
        let columns = Columns::of(family);
        Working { family, columns, named: HashSet::new(), errors: 0, drops: 0, rows: 0, duration_ns: 0, error: None }
    }

    /// A new tick.
    pub(super) fn begin(&mut self) {
        (self.rows, self.duration_ns, self.error) = (0, 0, None);
    }

    pub(super) fn name(&self) -> &'static str {
        self.family.name
    }

    /// How it fared, on top of who it is.
    pub(super) fn report(&self, named: v1::Collect) -> v1::Collect {
        v1::Collect {
            success: Some(u64::from(self.error.is_none())),
            duration: Some(self.duration_ns),
            rows: Some(self.rows),
            errors: Some(self.errors),
            drops: Some(self.drops),
            error: self.error.clone(),
            ..named
        }
    }

    fn fill(&mut self, row: &mut dyn Fields, kstat: &Kstat<'_>, snaptime: Option<i64>) {
        let Working { family, columns, named, errors, drops, error, .. } = self;
        columns.fill(row, kstat, snaptime, &mut |statistic, oddity| match oddity {
            Oddity::Retyped => {
                *errors += 1;
                *error = Some(format!("statistic {statistic:?} is of another type"));
            }
            Oddity::Unknown => {
                *drops += 1;
                if named.len() < MAX_NAMED && !named.contains(statistic) {
                    tracing::info!("a statistic that this version does not know: {}:{statistic}", family.name);
                    named.insert(statistic.into());
                }
            }
        });
    }
}
