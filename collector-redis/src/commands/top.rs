//! `top`: who hurts most, live, as Redis has it.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use redis::{Value, cmd, from_redis_value};
use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::shutdown::Shutdown;
use zonescope_link::top::Top;
use zonescope_proto::resource::Resource;

use crate::cli::TopArguments;
use crate::config;
use crate::connect::{Connection, between_attempts};
use crate::keys::{Keys, USE_TABLE};
use crate::trouble::Trouble;
use crate::usage;

/// How often the table is drawn.
const EVERY: Duration = Duration::from_secs(1);
/// Zones that have not been seen for so long are not shown, ms.
const SEEN_WITHIN_MS: u64 = 10_000;
/// Zones that are read at once.
const AT_ONCE: usize = 256;

/// Shows a table each second, until told to end.
///
/// # Errors
/// Where the configuration is wrong, or Redis is not there.
pub fn top(arguments: &TopArguments) -> anyhow::Result<()> {
    let settings = config::load_redis(&arguments.redis)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::install()?;
        let end = async {
            match arguments.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            watched = watch(&settings, arguments.rows) => watched,
            () = end => Ok(()),
            () = shutdown.requested() => Ok(()),
        }
    })
}

async fn watch(settings: &config::Settings, rows: usize) -> anyhow::Result<()> {
    let redis = |trouble: Trouble| anyhow::anyhow!("Redis at {} {trouble}", settings.target.describe());
    let mut connection = settings.target.connect().await.map_err(redis)?;
    let mut top = Top::default();
    let mut draw = tokio::time::interval(EVERY);
    let mut said = false;
    loop {
        draw.tick().await;
        if let Err(trouble) = read(&connection, &settings.style.keys, &mut top).await {
            tracing::warn!("Redis {trouble}");
            connection = again(settings).await;
        } else if top.is_empty() {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(
                    redis = settings.target.describe(),
                    "Redis holds no zone that was seen lately: waiting for one; `run` has to write there, with the same --prefix"
                );
            }
        } else if !top.print(rows)? {
            return Ok(());
        }
    }
}

async fn again(settings: &config::Settings) -> Connection {
    let mut backoff = between_attempts();
    loop {
        tokio::time::sleep(backoff.wait()).await;
        if let Ok(connection) = settings.target.connect().await {
            return connection;
        }
    }
}

/// Reads every zone that was seen lately.
async fn read(connection: &Connection, keys: &Keys, top: &mut Top) -> Result<(), Trouble> {
    let since = (SystemClock.now_ns() / 1_000_000).saturating_sub(SEEN_WITHIN_MS);
    let mut seen = cmd("ZRANGEBYSCORE");
    seen.arg(keys.zones()).arg(since).arg("+inf");
    let tags: Vec<String> = from_redis_value(connection.command(&seen).await?).unwrap_or_default();
    let one = |tag: String| async move {
        let mut pipe = redis::pipe();
        pipe.cmd("HGETALL").arg(keys.of(&tag, "zone")).cmd("HGETALL").arg(keys.latest(&tag, USE_TABLE));
        connection.pipeline(&pipe).await
    };
    let mut zones = futures::stream::iter(tags).map(one).buffer_unordered(AT_ONCE);
    while let Some(answers) = zones.next().await {
        show(answers?, top);
    }
    Ok(())
}

fn show(answers: Vec<Value>, top: &mut Top) {
    let mut hashes = answers.into_iter().map(|value| from_redis_value(value).unwrap_or_default());
    let mut next = || -> HashMap<String, String> { hashes.next().unwrap_or_default() };
    let (zone, usage) = (next(), next());
    let (Some(host), Some(name), Some(time)) = (zone.get("host"), zone.get("zone"), zone.get("time")) else { return };
    let Ok(time_ms) = time.parse::<u64>() else { return };
    let brand = zone.get("brand").map_or("", String::as_str);
    top.set(host, name, brand, time_ms * 1_000_000, Resource::ALL.map(|resource| usage::read(resource, &usage)));
}
