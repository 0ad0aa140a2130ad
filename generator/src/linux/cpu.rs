//! Families `cpu` and `core`: CPU time.
//!
//! | | v2 | v1 |
//! |---|---|---|
//! | time | cpu.stat, us | cpuacct.usage, ns, split ([`cputime`](super::cputime)) as cpuacct.usage_user and _sys, before Linux 4.8 cpuacct.stat, say |
//! | throttling | cpu.stat, us | cpu.stat, ns |
//! | quota | cpu.max | cpu.cfs_quota_us, cpu.cfs_period_us |
//!
//! v2 has cpu.stat with the time of every group, controllers or not.

use zonescope_proto::v1;

use super::cputime::{Split, Splits};
use super::hierarchy::Controller;
use super::parse::{Field, Malformed, Table, Unit, count_ranges, decimal_times, keyed, lines, number, single, words};
use super::reader::Reader;
use super::zone::{Dir, Zone};
use super::{Pass, core};

const V2: &Table<v1::Cpu> = &[
    ("user_usec", Unit::Times(1000), |c| &mut c.nsec_user),
    ("system_usec", Unit::Times(1000), |c| &mut c.nsec_sys),
    ("nr_periods", Unit::Same, |c| &mut c.nr_periods),
    ("nr_throttled", Unit::Same, |c| &mut c.nr_throttled),
    ("throttled_usec", Unit::Same, |c| &mut c.throttled_usec),
];

const V1: &Table<v1::Cpu> = &[
    ("nr_periods", Unit::Same, |c| &mut c.nr_periods),
    ("nr_throttled", Unit::Same, |c| &mut c.nr_throttled),
    ("throttled_time", Unit::Per(1000), |c| &mut c.throttled_usec),
];

const V1_SINGLES: [(&str, Field<V1Times>); 2] =
    [("cpuacct.usage_user", |t| &mut t.user), ("cpuacct.usage_sys", |t| &mut t.system)];

const V1_TICKS: &Table<V1Times> = &[("user", Unit::Same, |t| &mut t.user), ("system", Unit::Same, |t| &mut t.system)];

pub(super) fn read(pass: &mut Pass<'_>) {
    let reader = &mut pass.reader;
    let mut cores = Vec::new();
    let read = reader.take(&["/proc/stat"], &mut cores, core::project);
    let ncpus = online(reader).or(Some(cores.len().saturating_sub(1) as u64).filter(|n| *n > 0));
    pass.host.cpu = read.and_then(|snaptime| of_host(reader, &cores, snaptime, ncpus));
    pass.host.core = read.map(|snaptime| core::rows(reader, &cores, snaptime)).unwrap_or_default();
    pass.splits.begin();
    for zone in &mut pass.zones {
        zone.frame.cpu = of_zone(reader, zone, pass.splits, ncpus);
    }
}

fn of_host(reader: &mut Reader<'_>, cores: &[core::Times], snaptime: i64, ncpus: Option<u64>) -> Option<v1::Cpu> {
    let all = cores.iter().find(|times| times.core.is_none())?;
    let mut row = v1::Cpu {
        snaptime: Some(snaptime),
        nsec_user: Some(reader.ticks_ns(all.user())),
        nsec_sys: Some(reader.ticks_ns(all.system.saturating_add(all.interrupts()))),
        ncpus,
        ..v1::Cpu::default()
    };
    reader.take(&["/proc/loadavg"], &mut row, loadavg);
    reader.take(&["/proc/schedstat"], &mut row, schedstat);
    Some(row)
}

fn of_zone(reader: &mut Reader<'_>, zone: &Zone<'_>, splits: &mut Splits, ncpus: Option<u64>) -> Option<v1::Cpu> {
    let mut row = v1::Cpu { ncpus, ..v1::Cpu::default() };
    let accounting = zone.dir(Controller::Cpuacct);
    row.snaptime = accounting.and_then(|dir| time(reader, dir, &mut row, splits, zone.group.serial));
    if let Some(dir) = zone.dir(Controller::Cpu) {
        let read = if dir.unified {
            reader.take(&dir.file("cpu.max"), &mut row, cpu_max)
        } else {
            let read = reader.take(&dir.file("cpu.stat"), &mut row, |text, row| keyed(text, V1, row));
            reader.take(&dir.file("cpu.cfs_quota_us"), &mut row, quota);
            let period = |text: &[u8], row: &mut v1::Cpu| single(text, Unit::Same, |c| &mut c.period_usec, row);
            reader.take(&dir.file("cpu.cfs_period_us"), &mut row, period);
            read
        };
        row.snaptime = row.snaptime.or(read);
    }
    row.snaptime.map(|_| row)
}

/// Reads how much CPU time the group has used.
fn time(reader: &mut Reader<'_>, dir: Dir<'_>, row: &mut v1::Cpu, splits: &mut Splits, group: u64) -> Option<i64> {
    if dir.unified {
        return reader.take(&dir.file("cpu.stat"), row, |text, row| keyed(text, V2, row));
    }
    let mut times = V1Times::default();
    for (file, field) in V1_SINGLES {
        reader.take(&dir.file(file), &mut times, |text, times| single(text, Unit::Same, field, times));
    }
    if times.user.is_none() {
        // In another unit, but only the shares count.
        reader.take(&dir.file("cpuacct.stat"), &mut times, |text, times| keyed(text, V1_TICKS, times));
    }
    let total = |text: &[u8], times: &mut V1Times| single(text, Unit::Same, |t| &mut t.total, times);
    let at = reader.take(&dir.file("cpuacct.usage"), &mut times, total)?;
    let sampled = Split { user: times.user?, system: times.system? };
    let split = splits.split(group, times.total?, sampled);
    row.nsec_user = Some(split.user);
    row.nsec_sys = Some(split.system);
    Some(at)
}

/// What v1 says of CPU time.
#[derive(Default)]
struct V1Times {
    total: Option<u64>,
    user: Option<u64>,
    system: Option<u64>,
}

/// `max 100000`, or `50000 100000`: quota and period.
fn cpu_max(text: &[u8], row: &mut v1::Cpu) -> Result<(), Malformed> {
    let mut parts = words(text);
    let quota = parts.next().ok_or(Malformed("empty"))?;
    row.quota_usec = number(quota);
    row.period_usec = parts.next().and_then(number);
    if quota == b"max" || row.quota_usec.is_some() { Ok(()) } else { Err(Malformed("the quota is not a number")) }
}

/// v1's quota: -1 where there is none.
fn quota(text: &[u8], row: &mut v1::Cpu) -> Result<(), Malformed> {
    if text.trim_ascii() == b"-1" {
        return Ok(());
    }
    single(text, Unit::Same, |c| &mut c.quota_usec, row)
}

fn loadavg(text: &[u8], row: &mut v1::Cpu) -> Result<(), Malformed> {
    let mut averages = words(text).map(|word| decimal_times(word, 256));
    for field in [&mut row.avenrun_1min, &mut row.avenrun_5min, &mut row.avenrun_15min] {
        *field = Some(averages.next().flatten().ok_or(Malformed("a load average is not a number"))?);
    }
    Ok(())
}

/// `cpu0 0 0 0 0 0 0 1789 7825336 404`: the eighth number is the time spent waiting, in ns.
fn schedstat(text: &[u8], row: &mut v1::Cpu) -> Result<(), Malformed> {
    const RUN_DELAY: usize = 8;
    let mut total = None;
    for line in lines(text).filter(|line| line.starts_with(b"cpu")) {
        let delay = words(line).nth(RUN_DELAY).and_then(number).ok_or(Malformed("no run_delay"))?;
        total = Some(total.unwrap_or(0u64).saturating_add(delay));
    }
    row.nsec_waitrq = total;
    Ok(())
}

/// CPUs online.
fn online(reader: &mut Reader<'_>) -> Option<u64> {
    let mut count = None;
    reader.take(&["/sys/devices/system/cpu/online"], &mut count, |text, count| {
        *count = Some(count_ranges(text).ok_or(Malformed("not a list of CPUs"))?);
        Ok(())
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v2_time_is_in_microseconds() {
        let mut row = v1::Cpu::default();
        let text = b"usage_usec 1812281161\nuser_usec 1688044286\nsystem_usec 124236875\nnice_usec 0\n\
            core_sched.force_idle_usec 0\nnr_periods 5\nnr_throttled 2\nthrottled_usec 1234\nnr_bursts 0\n";
        keyed(text, V2, &mut row).unwrap();
        assert_eq!((row.nsec_user, row.nsec_sys), (Some(1_688_044_286_000), Some(124_236_875_000)));
        assert_eq!((row.nr_periods, row.nr_throttled, row.throttled_usec), (Some(5), Some(2), Some(1234)));
    }

    #[test]
    fn v1_throttling_is_in_nanoseconds() {
        let mut row = v1::Cpu::default();
        keyed(b"nr_periods 5\nnr_throttled 2\nthrottled_time 1234567\nwait_sum 3\n", V1, &mut row).unwrap();
        assert_eq!(row.throttled_usec, Some(1234));
    }

    #[test]
    fn no_quota_is_absent() {
        let mut row = v1::Cpu::default();
        cpu_max(b"max 100000\n", &mut row).unwrap();
        quota(b"-1\n", &mut row).unwrap();
        assert_eq!((row.quota_usec, row.period_usec), (None, Some(100_000)));
        cpu_max(b"50000 100000\n", &mut row).unwrap();
        assert_eq!(row.quota_usec, Some(50_000));
        assert!(cpu_max(b"", &mut row).is_err() && cpu_max(b"x 1\n", &mut row).is_err());
    }

    #[test]
    fn the_host_s_run_queue_is_the_sum_over_cpus() {
        let mut row = v1::Cpu::default();
        let text =
            b"version 15\ntimestamp 4\ncpu0 0 0 0 0 0 0 1 7 3\ndomain0 3 1 2 3 4 5 6 7 8 9\ncpu1 0 0 0 0 0 0 1 5 3\n";
        schedstat(text, &mut row).unwrap();
        assert_eq!(row.nsec_waitrq, Some(12));
        loadavg(b"2.04 1.61 1.16 4/101 14052\n", &mut row).unwrap();
        assert_eq!((row.avenrun_1min, row.avenrun_15min), (Some(522), Some(297)));
    }
}
