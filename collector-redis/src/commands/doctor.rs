//! `doctor`: what the collector needs: generators that publish, and a Redis that takes what they say.

use std::time::Duration;

use zonescope_link::clock::SystemClock;
use zonescope_link::doctor::{self, Finding};
use zonescope_link::format::Format;

use crate::cli::{DoctorArguments, RunArguments};
use crate::config::{self, Settings};
use crate::connect::{Connection, field};
use crate::memory::evicts;
use crate::trouble::Trouble;

/// How long a generator may take to say something: five of its ticks, of the usual length.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks, and prints what was found.
///
/// # Errors
/// Where the configuration is wrong, or a check failed.
pub fn doctor(arguments: &DoctorArguments) -> anyhow::Result<()> {
    let (redis, connect) = (arguments.redis.clone(), arguments.connect.clone());
    let settings = config::load(&RunArguments { redis, connect, ..RunArguments::default() })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = runtime.block_on(async {
        let mut findings = vec![doctor::clock(&SystemClock)];
        let (keys, endpoints) = doctor::keys::known(&settings.intake);
        findings.extend(keys);
        findings.extend(doctor::peers(&endpoints, PATIENCE, &SystemClock).await);
        findings.extend(redis_at(&settings).await);
        findings
    });
    doctor::report(&findings, arguments.format == Format::Json, &mut std::io::stdout().lock())?;
    Ok(())
}

/// Whether Redis lets us in, is new enough, takes writes, and has a bound of its memory that suits us.
async fn redis_at(settings: &Settings) -> Vec<Finding> {
    let place = settings.target.describe();
    let looked = async {
        let connection = settings.target.connect().await?;
        let (servers, memory) = (connection.info("server").await?, connection.info("memory").await?);
        let replication = connection.info("replication").await?;
        Ok::<_, Trouble>(vec![
            answers(&place, &servers, &replication),
            memory_of(settings, &memory),
            known(settings, &connection).await?,
        ])
    };
    looked.await.unwrap_or_else(|trouble| {
        let next = "see that it runs (redis-cli -h HOST ping), and `redis`, `username` and `password_file` in the configuration";
        vec![Finding::fail("redis", format!("{place} {trouble}"), next)]
    })
}

fn answers(place: &str, servers: &[String], replication: &[String]) -> Finding {
    let version = servers.first().and_then(|info| field(info, "redis_version")).unwrap_or("unknown");
    let found = format!("{place} answers: version {version}, servers {}", servers.len());
    if replication.iter().any(|info| field(info, "role") == Some("slave")) {
        let next = "name the master in `redis`, or Sentinels and the master's name in `sentinel`";
        return Finding::fail("redis", format!("{found}; it is a replica, which takes no writes"), next);
    }
    Finding::ok("redis", found)
}

fn memory_of(settings: &Settings, servers: &[String]) -> Finding {
    let mib =
        |name: &str| servers.iter().filter_map(|info| field(info, name)?.parse::<u64>().ok()).max().unwrap_or(0) >> 20;
    let (used, most) = (mib("used_memory"), mib("maxmemory"));
    if let Some(policy) = servers.iter().find_map(|info| evicts(info)) {
        return Finding::warn(
            "memory",
            format!("{used} of {most} MiB used; with the policy {policy} it may drop the latest state to make room"),
            "CONFIG SET maxmemory-policy noeviction: history is then shortened by us, oldest first",
        );
    }
    match (most, settings.max_memory) {
        (0, None) => Finding::warn(
            "memory",
            format!("{used} MiB used, and nothing bounds it"),
            "set `max_memory` in the configuration, or maxmemory of the server",
        ),
        (0, Some(ceiling)) => {
            Finding::ok("memory", format!("{used} MiB used; history is shortened above {} MiB", ceiling >> 20))
        }
        _ => Finding::ok("memory", format!("{used} of {most} MiB used")),
    }
}

/// What it holds of ours already.
async fn known(settings: &Settings, connection: &Connection) -> Result<Finding, Trouble> {
    let mut zcard = redis::cmd("ZCARD");
    let keys = settings.style.keys.zones();
    zcard.arg(&keys);
    let zones: u64 = redis::from_redis_value(connection.command(&zcard).await?).unwrap_or(0);
    Ok(Finding::ok("keys", format!("{zones} zones in {keys}")))
}
