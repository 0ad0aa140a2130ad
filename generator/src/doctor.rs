//! `doctor`: what the generator needs on this host. What is common to all programs is in [`zonescope_link::doctor`].

use std::path::Path;
use std::time::Duration;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::doctor::{self, Finding, Publisher, Verdict};
use zonescope_link::format::Format;
use zonescope_link::keys::keyring::Keyring;
use zonescope_link::spool;
use zonescope_link::transport::{Credentials, address_and_port, is_loopback};

use crate::cli::DoctorArguments;
use crate::config::Config;
use crate::dtrace::check;
use crate::endpoints::EndpointConfig;
use crate::ring::RecoveryBind;
use crate::run;
use crate::select::select;
use crate::source::{Sample, Tick};

/// Waits for a frame of whoever has our port: so many ticks, and no less or more than this.
const TICKS: u32 = 3;
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(60);

/// What the source `linux` needs to see what other users' processes read, wrote and opened: names and bits of capabilities(7).
const CAPABILITIES: [(&str, u32); 2] = [("CAP_SYS_PTRACE", 19), ("CAP_DAC_READ_SEARCH", 2)];

/// How to start what does not run.
const START: &str = if cfg!(target_os = "illumos") {
    "start it: svcadm enable zonescope/generator (svcs -xv says why it does not run)"
} else {
    "start it: systemctl start zonescope-generator (journalctl -u zonescope-generator says why it does not run)"
};

/// Looks, and prints what was found.
///
/// # Errors
/// Where a check failed.
pub fn doctor(config: &Config, arguments: &DoctorArguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = vec![doctor::clock(&SystemClock)];
    findings.extend(privileges());
    // What dtrace does is looked at apart: here it would be started for a tick.
    let mut alone = config.clone();
    alone.dtrace.enabled = false;
    let host_id = match select(&alone) {
        Ok(mut selection) => {
            findings.extend(sources(&mut selection.sources));
            selection.identity.host_id
        }
        Err(error) => {
            findings.push(Finding::fail("source", format!("{error:#}"), "name another in `source`"));
            String::new()
        }
    };
    findings.push(dtrace(config));
    findings.extend(runtime.block_on(ports(config, &host_id)));
    findings.extend(disk(config));
    doctor::report(&findings, arguments.format == Format::Json, &mut std::io::stdout().lock())?;
    Ok(())
}

/// On Linux: who we are, and whether we may look at other users' processes. illumos lets everybody look (docs/ILLUMOS.md); what it
/// asks for is tried with dtrace.
fn privileges() -> Option<Finding> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let uid = rustix::process::getuid().as_raw();
    let missing = missing_capabilities(&status)?;
    Some(if missing.is_empty() {
        Finding::ok("privileges", format!("uid {uid} sees other users' processes whole"))
    } else {
        Finding::warn(
            "privileges",
            format!(
                "uid {uid} lacks {}: what other users' processes read, write and open is not seen",
                missing.join(" and ")
            ),
            "run it as its unit does (AmbientCapabilities), or as root",
        )
    })
}

/// Of /proc/self/status. `None` where it does not say.
fn missing_capabilities(status: &str) -> Option<Vec<&'static str>> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    Some(CAPABILITIES.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect())
}

/// Reads one tick, and says for each source how much it saw, and for each family that failed why.
fn sources(sources: &mut [Box<dyn crate::source::Source>]) -> Vec<Finding> {
    let mut sample = Sample::default();
    let tick = Tick { time_ns: SystemClock.now_ns(), interval_ns: 1_000_000_000 };
    if run::read(sources, tick, &mut sample).is_err() {
        return vec![Finding::fail("source", "the recording is empty", "name another in `source`")];
    }
    let mut findings = Vec::new();
    for name in sources.iter().map(|source| source.name()).filter(|name| *name != "dtrace") {
        let families = sample.collect.iter().filter(|collect| collect.source == name);
        let (whole, broken): (Vec<_>, Vec<_>) = families.partition(|collect| collect.success != Some(0));
        let found = format!("{} families of {} zones are read whole", whole.len(), sample.zones.len());
        findings.push(match broken.is_empty() {
            true if sample.zones.is_empty() => Finding::fail(
                name,
                "no zone was seen",
                "look whether /proc and the cgroups (Linux) or kstat(8) (illumos) can be read here",
            ),
            true => Finding::ok(name, found),
            false => {
                let why = |c: &zonescope_proto::v1::Collect| {
                    format!("{}: {}", c.family, c.error.as_deref().unwrap_or("incomplete"))
                };
                let why = broken.iter().map(|collect| why(collect)).collect::<Vec<_>>().join("; ");
                Finding::warn(
                    name,
                    format!("{found}; not whole: {why}"),
                    "what it names cannot be read with our privileges, or is not on this system",
                )
            }
        });
    }
    findings
}

/// Whether D programs can run: the command is there, and compiles and enables a probe with our privileges.
fn dtrace(config: &Config) -> Finding {
    if !config.dtrace.enabled {
        return Finding::ok("dtrace", "is switched off in the configuration: no distributions, no latencies");
    }
    let Some(dtrace) = config.dtrace.find_dtrace() else {
        return Finding::warn(
            "dtrace",
            "there is no dtrace command here: no distributions, no latencies",
            "docs/DTRACE.md says where Linux gets one; or `enabled = false` below [dtrace]",
        );
    };
    match check::probe(&dtrace) {
        Ok(()) => Finding::ok("dtrace", format!("{} enables probes", dtrace.display())),
        Err(why) => Finding::warn(
            "dtrace",
            format!("{}: {why}", dtrace.display()),
            "it needs root on Linux, dtrace_kernel and dtrace_user on illumos (docs/INSTALL.md, docs/ILLUMOS.md), and some \
             seconds of CPU time to compile",
        ),
    }
}

/// The ports, whether they are encrypted, and where missed frames are asked for.
async fn ports(config: &Config, host_id: &str) -> Vec<Finding> {
    let interval = Duration::from_millis(u64::from(config.interval_ms));
    let patience = (interval * TICKS).clamp(LEAST, MOST);
    let keyring = Keyring::at(&config.keys);
    let (mut findings, credentials) = doctor::keys::admitted(&keyring, None, &config.bind, config.curve);
    let (found, ours) = port(&config.bind, &credentials, host_id, patience).await;
    findings.extend(found);
    if is_loopback(&config.bind) {
        findings.push(Finding::ok("reach", "only this host may subscribe: `bind` names its loopback address"));
    }
    findings.extend(match ours {
        Some(publisher) => Some(doctor::recovery(&config.bind, &publisher)),
        None => recovery(config),
    });
    for EndpointConfig { name, bind, curve, .. } in &config.endpoint {
        let (keys, credentials) = doctor::keys::admitted(&keyring, Some(name), bind, curve.unwrap_or(config.curve));
        findings.extend(keys);
        findings.extend(port(bind, &credentials, host_id, patience).await.0);
    }
    findings
}

/// Whether we publish at `bind`, as the keys that are there now say. One that was started before them is not taken for another
/// program.
async fn port(
    bind: &str,
    credentials: &Credentials,
    host_id: &str,
    patience: Duration,
) -> (Vec<Finding>, Option<Publisher>) {
    let listen = async |credentials| doctor::listen(bind, credentials, host_id, patience, START, &SystemClock).await;
    let (found, ours) = listen(credentials).await;
    if found.verdict != Verdict::Fail || matches!(credentials, Credentials::None) {
        return (vec![found], ours);
    }
    match listen(&Credentials::None).await {
        (plain, Some(ours)) => {
            let found = format!("who publishes at {bind} was started before there was a key, and is not encrypted");
            (vec![plain, Finding::fail("keys", found, "restart the generator")], Some(ours))
        }
        (_, None) => (vec![found], ours),
    }
}

/// Where it will be asked for missed frames.
fn recovery(config: &Config) -> Option<Finding> {
    match RecoveryBind::new(config.recovery_bind.as_deref(), &config.bind).ok()? {
        RecoveryBind::Off => Some(Finding::warn(
            "recovery",
            "what a subscriber misses is lost",
            "unless that is wanted, remove `recovery_bind = \"off\"`",
        )),
        RecoveryBind::Configured(endpoint) | RecoveryBind::Derived { first: endpoint, .. } => {
            let (_, port) = address_and_port(&endpoint).ok()?;
            Some(match doctor::free(&endpoint) {
                Ok(()) => Finding::ok("recovery", format!("port {port} is free")),
                Err(error) => Finding::warn(
                    "recovery",
                    format!("{endpoint}: {error}"),
                    "free the port, or name another in `recovery_bind`",
                ),
            })
        }
    }
}

/// The spool, where there is to be one.
fn disk(config: &Config) -> Vec<Finding> {
    let Some(spool) = config.ring.spool.as_deref() else {
        return vec![Finding::ok(
            "disk",
            "nothing is kept on disk: frames of before a restart are lost (`spool` keeps them)",
        )];
    };
    let held = size_of(spool);
    let least = (config.ring.spool_bytes + spool::SEGMENT_BYTES).saturating_sub(held);
    vec![doctor::writable(spool), doctor::room(spool, least, "the spool may still grow by")]
}

/// Bytes of the files in a directory.
fn size_of(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_as_the_kernel_prints_them() {
        let of = |mask: &str| missing_capabilities(&format!("Name:\tx\nCapPrm:\t0\nCapEff:\t{mask}\n"));
        assert_eq!(of("000001ffffffffff"), Some(vec![]));
        assert_eq!(of("0000000000080004"), Some(vec![]));
        assert_eq!(of("0000000000080000"), Some(vec!["CAP_DAC_READ_SEARCH"]));
        assert_eq!(of("0000000000000000").unwrap().len(), 2);
        assert_eq!(missing_capabilities("Name:\tx\n"), None);
    }
}
