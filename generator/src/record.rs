//! `record`: captures this host, so that it can be played elsewhere: the way bugs reach us from hosts that we lack.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use zonescope_link::clock::{Clock, SystemClock};

use crate::cli::RecordArguments;
use crate::config::Config;
use crate::linux::{Linux, Live, Options, Recorder};
use crate::source::{Sample, Source, Tick};
use crate::tick::Cadence;

/// Records a tick a second until the time is over.
///
/// # Errors
/// Where the source cannot be recorded, or the file cannot be written.
pub fn record(config: &Config, arguments: &RecordArguments) -> anyhow::Result<()> {
    let mut out: Box<dyn Write> = match &arguments.output {
        Some(path) => Box::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?),
        None => Box::new(std::io::stdout()),
    };
    let mut out = BufWriter::new(&mut out);
    match (arguments.kstat, config.source.as_str(), std::env::consts::OS) {
        (true, _, "illumos") | (false, "auto" | "kstat", "illumos") => kstat(config, arguments, &mut out)?,
        (false, "auto" | "linux", "linux") => linux(config, arguments, &mut out)?,
        (true, _, os) => bail!("this is {os}, and only illumos has kstats"),
        (false, source, os) => bail!("`{source}` cannot be recorded on {os}: leave out --source"),
    }
    out.flush()?;
    Ok(())
}

/// Does something at every tick.
fn every_tick(config: &Config, seconds: u64, mut each: impl FnMut(Tick) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut cadence = Cadence::new(u64::from(config.interval_ms) * 1_000_000);
    let ticks = (seconds * 1000 / u64::from(config.interval_ms)).max(1);
    for _ in 0..ticks {
        std::thread::sleep(Duration::from_nanos(cadence.wait_ns(SystemClock.now_ns())));
        each(cadence.due(SystemClock.now_ns()).tick)?;
    }
    Ok(())
}

fn linux(config: &Config, arguments: &RecordArguments, out: &mut impl Write) -> anyhow::Result<()> {
    let files = Recorder::new(Live::new(&config.linux.root, Arc::new(SystemClock)));
    let mut source = Linux::with(files, Options { top_processes: config.linux.top_processes });
    every_tick(config, arguments.seconds, |tick| {
        source.sample(tick, &mut Sample::default())?;
        serde_json::to_writer(&mut *out, &source.files().take())?;
        out.write_all(b"\n")?;
        Ok(())
    })
}

#[cfg(target_os = "illumos")]
fn kstat(config: &Config, arguments: &RecordArguments, out: &mut impl Write) -> anyhow::Result<()> {
    use crate::kstat::chain::Chain;
    use crate::kstat::custom::Custom;
    use crate::kstat::{live, recording};
    let custom = Custom::new(&config.kstat)?;
    let mut chain = live::Live::open(Arc::new(SystemClock))?;
    recording::write_head(out, rustix::param::page_size() as u64)?;
    every_tick(config, arguments.seconds, |tick| {
        let moment = chain.update().map_err(anyhow::Error::msg)?.unwrap_or_default();
        recording::write_tick(out, tick.time_ns, moment.hrtime_at(tick.time_ns).unwrap_or(0))?;
        let mut writer = recording::Writer::new(out, &custom);
        chain.visit(&mut writer);
        Ok(writer.finish()?)
    })
}

#[cfg(not(target_os = "illumos"))]
fn kstat(_: &Config, _: &RecordArguments, _: &mut impl Write) -> anyhow::Result<()> {
    bail!("only illumos has kstats")
}
