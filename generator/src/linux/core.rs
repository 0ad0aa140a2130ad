//! Family `core`: what /proc/stat says of each CPU of the host.

use zonescope_proto::v1;

use super::limits::MAX_FAMILY_ROWS;
use super::parse::{Malformed, lines, number, words};
use super::reader::Reader;

/// A line of /proc/stat, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Times {
    /// `None` is all of them.
    pub(super) core: Option<u64>,
    user: u64,
    nice: u64,
    pub(super) system: u64,
    idle: u64,
    iowait: u64,
    irq: u64,
    softirq: u64,
    steal: Option<u64>,
}

impl Times {
    pub(super) fn user(&self) -> u64 {
        self.user.saturating_add(self.nice)
    }

    pub(super) fn interrupts(&self) -> u64 {
        self.irq.saturating_add(self.softirq)
    }
}

/// The lines of the host and of its CPUs.
pub(super) fn project(text: &[u8], times: &mut Vec<Times>) -> Result<(), Malformed> {
    for line in lines(text).take_while(|line| line.starts_with(b"cpu")) {
        times.push(of_line(line).ok_or(Malformed("a line of a CPU has no numbers"))?);
    }
    if times.is_empty() { Err(Malformed("no CPUs")) } else { Ok(()) }
}

/// `cpu0 83241 0 5484 78978 129 0 6 144 0 0`
fn of_line(line: &[u8]) -> Option<Times> {
    let mut fields = words(line);
    let name = fields.next()?.strip_prefix(b"cpu")?;
    let core = if name.is_empty() { None } else { Some(number(name)?) };
    let mut next = || number(fields.next()?);
    Some(Times {
        core,
        user: next()?,
        nice: next()?,
        system: next()?,
        idle: next()?,
        iowait: next()?,
        irq: next()?,
        softirq: next()?,
        steal: next(),
    })
}

/// A row for each CPU.
pub(super) fn rows(reader: &mut Reader<'_>, times: &[Times], snaptime: i64) -> Vec<v1::Core> {
    let cores = times.iter().filter_map(|times| Some((times.core?, times)));
    let mut rows: Vec<_> = cores.map(|(core, times)| of_times(reader, core, times, snaptime)).collect();
    reader.tally.drops += rows.len().saturating_sub(MAX_FAMILY_ROWS) as u64;
    rows.truncate(MAX_FAMILY_ROWS);
    for row in &mut rows {
        clock(reader, row);
    }
    rows
}

fn of_times(reader: &Reader<'_>, core: u64, times: &Times, snaptime: i64) -> v1::Core {
    v1::Core {
        core,
        snaptime: Some(snaptime),
        cpu_nsec_idle: Some(reader.ticks_ns(times.idle)),
        cpu_nsec_user: Some(reader.ticks_ns(times.user())),
        cpu_nsec_kernel: Some(reader.ticks_ns(times.system)),
        cpu_nsec_intr: Some(reader.ticks_ns(times.interrupts())),
        cpu_nsec_iowait: Some(reader.ticks_ns(times.iowait)),
        cpu_nsec_steal: times.steal.map(|steal| reader.ticks_ns(steal)),
        ..v1::Core::default()
    }
}

/// The clock now, in kHz; a virtual machine has none.
fn clock(reader: &mut Reader<'_>, row: &mut v1::Core) {
    let core = row.core.to_string();
    let path = ["/sys/devices/system/cpu/cpu", &core, "/cpufreq/scaling_cur_freq"];
    reader.take(&path, row, |text, row| {
        let khz = number(text.trim_ascii()).ok_or(Malformed("not a number"))?;
        row.current_clock_hz = Some(khz.saturating_mul(1000));
        Ok(())
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_cpu() {
        let text = b"cpu  168777 1 12319 154077 496 2 93 288 0 0\ncpu0 83241 0 5484 78978 129 0 6 144 0 0\nintr 7 0\n";
        let mut times = Vec::new();
        project(text, &mut times).unwrap();
        assert_eq!(times.len(), 2);
        assert_eq!((times[0].core, times[0].user(), times[0].interrupts()), (None, 168_778, 95));
        assert_eq!((times[1].core, times[1].idle, times[1].steal), (Some(0), 78978, Some(144)));
        assert!(project(b"", &mut Vec::new()).is_err());
        assert!(project(b"cpu0 1 x\n", &mut Vec::new()).is_err());
    }
}
