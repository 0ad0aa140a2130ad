//! `doctor`: what the collector needs: generators that publish, and room for what they say.

use std::time::Duration;

use zonescope_link::clock::SystemClock;
use zonescope_link::doctor::{self, Finding};
use zonescope_link::format::Format;

use crate::cli::{DoctorArguments, RunArguments};
use crate::config::{self, Settings};
use crate::store::lock;

/// How long a generator may take to say something: five of its ticks, of the usual length.
const PATIENCE: Duration = Duration::from_secs(5);

/// Less room than this is none: a flush writes what is in memory, and a merge writes an hour anew before the old files go.
const ROOM_FLUSHES: u64 = 4;

/// Looks, and prints what was found.
///
/// # Errors
/// Where the configuration is wrong, or a check failed.
pub fn doctor(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let DoctorArguments { config, root, connect, format } = arguments.clone();
    let settings = config::load(&RunArguments { config, root, connect, ..RunArguments::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut findings = vec![doctor::clock(&SystemClock)];
    let (keys, endpoints) = doctor::keys::known(&settings.intake);
    findings.extend(keys);
    findings.extend(runtime.block_on(doctor::peers(&endpoints, PATIENCE, &SystemClock)));
    let least = settings.store.memory_bytes as u64 * ROOM_FLUSHES;
    findings.push(doctor::writable(&settings.root));
    findings.push(doctor::room(&settings.root, least, "should have"));
    findings.push(holder(&settings));
    findings.push(bound(&settings));
    doctor::report(&findings, format == Format::Json, &mut std::io::stdout().lock())?;
    Ok(())
}

/// Whether a collector writes there now.
fn holder(settings: &Settings) -> Finding {
    match lock::holder(&settings.root) {
        Ok(Some(pid)) => Finding::ok("collector", format!("the process {pid} writes to {}", settings.root.display())),
        Ok(None) => Finding::warn(
            "collector",
            format!("none writes to {}", settings.root.display()),
            "start it: systemctl start zonescope-collector-columnar, or svcadm enable zonescope/collector-columnar",
        ),
        Err(error) => {
            Finding::warn("collector", error.to_string(), "run as the account of the service (zonescope) or as root")
        }
    }
}

/// Whether it ever removes anything.
fn bound(settings: &Settings) -> Finding {
    let retention = &settings.retention;
    match (retention.keep, retention.max_bytes) {
        (None, None) => Finding::warn(
            "retention",
            "everything is kept, until the disk is full",
            "set `keep` or `max_bytes` in the configuration",
        ),
        (keep, most) => {
            let keep = keep.map(|keep| format!("{} hours", keep.as_secs() / 3600));
            let most = most.map(|most| format!("{} MiB", most >> 20));
            Finding::ok(
                "retention",
                format!("no more than {}", keep.into_iter().chain(most).collect::<Vec<_>>().join(" and ")),
            )
        }
    }
}
