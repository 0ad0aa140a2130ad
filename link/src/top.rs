//! The live table: which zone hurts, and what it waits for. Fed with frames or with stored usage, drawn as text.
//!
//! Zones are sorted by how much they hurt: waiting, being held back and failing count twice as much as being
//! busy, since a busy zone is content and a waiting one is not.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use zonescope_proto::resource::{Resource, Tracker, Usage};
use zonescope_proto::v1;

use crate::stdout::unless_nobody_reads;

/// Zones that have been silent for so long leave the table, ns.
const FORGET_AFTER_NS: u64 = 10_000_000_000;

/// To the upper left, and everything below gone.
const CLEAR: &str = "\x1b[H\x1b[J";

/// What the table knows of one zone.
#[derive(Debug, Clone)]
struct Line {
    brand: String,
    time_ns: u64,
    usage: [Usage; 4],
}

/// The table.
#[derive(Debug, Default)]
pub struct Top {
    tracker: Tracker,
    lines: BTreeMap<(String, String), Line>,
    latest_ns: u64,
}

impl Top {
    /// Takes a frame into account.
    pub fn observe(&mut self, frame: v1::Frame) {
        let Some((host, zone, time)) =
            frame.header.as_ref().and_then(|h| Some((h.host.clone(), h.zone.clone()?, h.time)))
        else {
            return;
        };
        if let Some(usage) = self.tracker.observe(frame) {
            self.set(&host, &zone.name, &zone.brand, time, usage);
        }
    }

    /// Sets what is known of a zone.
    pub fn set(&mut self, host: &str, zone: &str, brand: &str, time_ns: u64, usage: [Usage; 4]) {
        self.latest_ns = self.latest_ns.max(time_ns);
        self.lines.insert((host.to_owned(), zone.to_owned()), Line { brand: brand.to_owned(), time_ns, usage });
        let oldest = self.latest_ns.saturating_sub(FORGET_AFTER_NS);
        self.lines.retain(|_, line| line.time_ns >= oldest);
        self.tracker.forget_before(oldest);
    }

    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The time of the newest frame, ns since 1970 UTC.
    pub fn latest_ns(&self) -> u64 {
        self.latest_ns
    }

    /// Prints it to standard output: on a terminal in place, else one table after another. False where nobody reads any more.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn print(&self, rows: usize) -> io::Result<bool> {
        let mut out = io::stdout().lock();
        let terminal = out.is_terminal();
        let clear = if terminal { CLEAR } else { "" };
        let written = write!(out, "{clear}{}", self.render(rows, terminal)).and_then(|()| out.flush());
        let read = written.is_ok();
        unless_nobody_reads(written).map(|()| read)
    }

    /// Draws at most `rows` zones, whoever hurts most first. The column of hosts is there where there are several.
    pub fn render(&self, rows: usize, colour: bool) -> String {
        let hosts = self.lines.keys().map(|(host, _)| host).collect::<std::collections::BTreeSet<_>>().len();
        let mut lines: Vec<_> = self.lines.iter().map(|(key, line)| (pain(&line.usage), key, line)).collect();
        lines.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));

        let mut out = String::new();
        let host_head = if hosts > 1 { format!("{:<16} ", "HOST") } else { String::new() };
        let head = format!(
            "{host_head}{:<32} {:<9} {:>7} {:>13} {:>7} {:>13} {:>7} {:>13} {:>7} {:>13} {:>7}  {}",
            "ZONE", "BRAND", "CPU", "waits", "MEM", "waits", "DISK", "waits", "NET", "waits", "ERR/S", "HURTS"
        );
        let _ = if colour { writeln!(out, "\x1b[1m{head}\x1b[0m") } else { writeln!(out, "{head}") };
        for (_, (host, zone), line) in lines.iter().take(rows) {
            if hosts > 1 {
                let _ = write!(out, "{:<16} ", clip(host, 16));
            }
            let _ = write!(out, "{:<32} {:<9}", clip(zone, 32), clip(&line.brand, 9));
            for usage in &line.usage {
                let _ = write!(out, " {:>7} {:>13}", percent(usage.utilization), waits(usage));
            }
            let errors =
                line.usage.iter().filter_map(|u| u.errors).fold(None, |s: Option<f64>, e| Some(s.unwrap_or(0.0) + e));
            let _ = writeln!(out, " {:>7}  {}", errors.map_or("-".to_owned(), short), worst(&line.usage));
        }
        if lines.len() > rows {
            let _ = writeln!(out, "... and {} more", lines.len() - rows);
        }
        out
    }
}

/// How much one resource hurts: 0 for not at all, about 1 for saturated.
fn pain_of(usage: &Usage) -> f64 {
    let busy = usage.utilization.unwrap_or(0.0).clamp(0.0, 1.0);
    // Each kind of waiting has its own scale: what would be felt counts as about a half.
    let half = match usage.saturation_unit {
        "share of time" => 0.25,
        "threads" | "operations" => 1.0,
        "pages/s" | "faults/s" => 500.0,
        _ => 50.0,
    };
    let soft = |value: f64, half: f64| value.max(0.0) / (value.max(0.0) + half);
    busy + 2.0 * soft(usage.saturation.unwrap_or(0.0), half)
        + 2.0 * soft(usage.throttled.unwrap_or(0.0), 0.25)
        + 2.0 * soft(usage.errors.unwrap_or(0.0), 1.0)
}

fn pain(usage: &[Usage; 4]) -> f64 {
    usage.iter().map(pain_of).sum()
}

/// The resource that hurts most, and how.
fn worst(usage: &[Usage; 4]) -> String {
    let Some(worst) = usage.iter().max_by(|a, b| pain_of(a).total_cmp(&pain_of(b))).filter(|u| pain_of(u) >= 0.1)
    else {
        return String::new();
    };
    let name = worst.resource.name();
    let how = match worst {
        u if u.errors.is_some_and(|e| e > 0.0) => "fails",
        u if u.throttled.is_some_and(|t| t > 0.01) => "held back",
        u if u.saturation.is_some_and(|s| s > 0.0) && pain_of(u) > u.utilization.unwrap_or(0.0) * 1.2 => "waits",
        _ => "busy",
    };
    format!("{name} {how}")
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |s| format!("{:.1}%", s * 100.0))
}

/// Saturation as people read it: `12% stalled`, `1.5 threads`.
fn waits(usage: &Usage) -> String {
    let Some(value) = usage.saturation else { return "-".to_owned() };
    match usage.saturation_unit {
        "share of time" => format!("{:.1}% time", value * 100.0),
        "threads" => format!("{} thr", short(value)),
        "operations" => format!("{} ops", short(value)),
        "pages/s" => format!("{} pg/s", short(value)),
        "faults/s" => format!("{} flt/s", short(value)),
        _ => format!("{} ev/s", short(value)),
    }
}

/// Three figures: `0`, `0.25`, `12.5`, `1.2k`.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        v if v < 1000.0 => format!("{value:.0}"),
        v if v < 1e6 => format!("{:.1}k", value / 1e3),
        v if v < 1e9 => format!("{:.1}M", value / 1e6),
        _ => format!("{:.1}G", value / 1e9),
    }
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut clipped: String = text.chars().take(width.saturating_sub(1)).collect();
    clipped.push('…');
    clipped
}

/// The resources in the order of the columns.
pub const COLUMNS: [Resource; 4] = Resource::ALL;

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(cpu: f64, waiting: f64) -> [Usage; 4] {
        Resource::ALL.map(|resource| Usage {
            resource,
            utilization: (resource == Resource::Cpu).then_some(cpu),
            saturation: (resource == Resource::Cpu).then_some(waiting),
            saturation_unit: "share of time",
            errors: None,
            cap: None,
            throttled: None,
        })
    }

    #[test]
    fn a_zone_that_waits_stands_above_one_that_is_busy() {
        let mut top = Top::default();
        top.set("h", "busy", "zone", 1, usage(0.9, 0.0));
        top.set("h", "waiting", "zone", 1, usage(0.5, 0.8));
        top.set("h", "idle", "zone", 1, usage(0.0, 0.0));
        let table = top.render(10, false);
        let at = |name: &str| table.find(name).unwrap();
        assert!(at("waiting") < at("busy") && at("busy") < at("idle"), "{table}");
        assert!(table.contains("cpu waits"), "{table}");
    }

    #[test]
    fn unknown_is_a_dash_and_not_a_zero() {
        let mut top = Top::default();
        top.set("h", "z", "zone", 1, usage(0.0, 0.0));
        let line = top.render(1, false).lines().nth(1).unwrap().to_owned();
        assert!(line.contains("0.0%") && line.contains(" - "), "{line}");
    }

    #[test]
    fn a_zone_that_is_gone_leaves_the_table() {
        let mut top = Top::default();
        top.set("h", "gone", "zone", 1, usage(0.1, 0.0));
        top.set("h", "here", "zone", 20_000_000_000, usage(0.1, 0.0));
        assert!(!top.render(9, false).contains("gone"));
    }
}
