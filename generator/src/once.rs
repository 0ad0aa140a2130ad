//! `once`: one tick, printed.

use std::io::Write;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::format::Format;

use crate::cli::OnceArguments;
use crate::config::Config;
use crate::source::{Sample, Tick};
use crate::{run, select, show};

/// Prints one tick of every zone.
///
/// # Errors
/// Where a source cannot be opened, or nobody reads what is printed.
pub fn once(config: &Config, arguments: &OnceArguments) -> anyhow::Result<()> {
    let mut selection = select::select(config)?;
    let interval_ns = u64::from(config.interval_ms) * 1_000_000;
    let tick = Tick { time_ns: SystemClock.now_ns(), interval_ns };
    let mut sample = Sample::default();
    run::read(&mut selection.sources, tick, &mut sample)?;
    let time_ns = sample.time_ns.unwrap_or(tick.time_ns);

    for collect in sample.collect.iter().filter(|c| c.success == Some(0)) {
        tracing::warn!("{}: {}", collect.family, collect.error.as_deref().unwrap_or("incomplete"));
    }
    let filter = show::Filter { family: arguments.family.clone() };
    let mut out = std::io::stdout().lock();
    for zone in sample.zones.values().filter(|z| arguments.zone.as_ref().is_none_or(|name| *name == z.zone.name)) {
        match arguments.format {
            Format::Text => write!(out, "{}", show::text(&zone.zone, &zone.frame, &filter))?,
            Format::Json => writeln!(out, "{}", show::json(&zone.zone, &zone.frame, time_ns, &filter))?,
        }
    }
    Ok(())
}
