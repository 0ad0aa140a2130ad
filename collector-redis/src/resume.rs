//! What Redis holds: read when we begin, and whenever an outcome is not known.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use redis::{cmd, from_redis_value};
use zonescope_proto::Topic;

use crate::connect::{Connection, Target, between_attempts};
use crate::keys::Keys;
use crate::limits::{RESUME_LOADING_WITHIN, RESUME_WITHIN};
use crate::trouble::Trouble;
use crate::zone::Stored;

/// Zones that are read at once: their answers share round trips.
const AT_ONCE: usize = 256;

/// What Redis holds of these zones; an error for each that could not be read.
pub async fn read(
    connection: &Connection,
    keys: &Keys,
    tags: Vec<Arc<str>>,
    now_ms: u64,
) -> Vec<(Arc<str>, Result<Stored, Trouble>)> {
    let one = |tag: Arc<str>| async move {
        let answers = connection.pipeline(&Stored::query(keys, &tag)).await;
        let read = answers.and_then(|answers| {
            let refused = answers.iter().find_map(|answer| match answer {
                redis::Value::ServerError(error) => Some(Trouble::of_server(error)),
                _ => None,
            });
            refused.map_or_else(|| Ok(Stored::parse(answers, now_ms)), Err)
        });
        (tag, read)
    };
    futures::stream::iter(tags).map(one).buffer_unordered(AT_ONCE).collect().await
}

/// Everything that Redis holds: the position of each zone, by tag. From here a collector goes on. Zones that cannot be read
/// just now (a node of the cluster is away) are left out: they are read when their first frame comes.
///
/// # Errors
/// Where Redis does not answer.
pub async fn everything(
    connection: &Connection,
    keys: &Keys,
    now_ms: u64,
) -> Result<HashMap<Arc<str>, Stored>, Trouble> {
    let mut zrange = cmd("ZRANGE");
    zrange.arg(keys.zones()).arg(0).arg(-1);
    let tags: Vec<String> = from_redis_value(connection.command(&zrange).await?).unwrap_or_default();
    let read = read(connection, keys, tags.into_iter().map(Into::into).collect(), now_ms).await;
    Ok(read.into_iter().filter_map(|(tag, stored)| Some((tag, stored.ok()?))).collect())
}

/// Where a subscriber goes on: epoch and number of the last frame of every zone and host. Asks until Redis tells; not for long
/// where it does not: better to receive from now on than not to receive.
pub async fn positions(target: &Target, keys: &Keys, now_ms: u64) -> HashMap<Topic, (u64, u64)> {
    let (started, mut backoff, mut said) = (Instant::now(), between_attempts(), false);
    loop {
        let trouble = match target.connect().await {
            Ok(connection) => match topics(&connection, keys, now_ms).await {
                Ok(topics) => return topics,
                Err(trouble) => trouble,
            },
            Err(trouble) => trouble,
        };
        if !std::mem::replace(&mut said, true) {
            tracing::warn!("Redis {trouble}: receiving begins when it tells where we were, or soon");
        }
        let patience = if trouble == Trouble::Loading { RESUME_LOADING_WITHIN } else { RESUME_WITHIN };
        if started.elapsed() >= patience {
            tracing::warn!(
                "receiving begins now; what was missed before cannot be asked for, and will be on record as a gap"
            );
            return HashMap::new();
        }
        tokio::time::sleep(backoff.wait().min(patience.saturating_sub(started.elapsed()))).await;
    }
}

async fn topics(connection: &Connection, keys: &Keys, now_ms: u64) -> Result<HashMap<Topic, (u64, u64)>, Trouble> {
    let mut topics = HashMap::new();
    for stored in everything(connection, keys, now_ms).await?.into_values() {
        if let Some(((host, zone), position)) = stored.names.zip(stored.position)
            && let Ok(topic) = Topic::new(&zone, &host)
        {
            topics.insert(topic, (position.epoch, position.sequence));
        }
    }
    let mut zrange = cmd("ZRANGE");
    zrange.arg(keys.hosts()).arg(0).arg(-1);
    let hosts: Vec<String> = from_redis_value(connection.command(&zrange).await?).unwrap_or_default();
    for host in hosts {
        let mut hmget = cmd("HMGET");
        hmget.arg(keys.of(&host, "host")).arg(&["host_id", "epoch", "sequence"]);
        let fields: Vec<Option<String>> = from_redis_value(connection.command(&hmget).await?).unwrap_or_default();
        if let [Some(host), Some(epoch), Some(sequence)] = fields.as_slice()
            && let (Ok(topic), Ok(epoch), Ok(sequence)) = (Topic::new("", host), epoch.parse(), sequence.parse())
        {
            topics.insert(topic, (epoch, sequence));
        }
    }
    Ok(topics)
}

/// Trims the history of every zone that can be reached to `keep_ms` before its newest entry. Gives how many streams were looked at.
///
/// # Errors
/// Where Redis does not answer.
pub async fn trim(connection: &Connection, keys: &Keys, keep_ms: u64) -> Result<usize, Trouble> {
    let zones = everything(connection, keys, 0).await?;
    let trimmed = |(tag, stored): (Arc<str>, Stored)| async move {
        let newest = stored.position.map_or(0, |p| p.id.ms);
        let mut pipe = redis::pipe();
        for table in stored.tables.keys() {
            let history = keys.history(&tag, table);
            pipe.cmd("XTRIM").arg(history).arg("MINID").arg("~").arg(newest.saturating_sub(keep_ms));
        }
        let answered = !pipe.is_empty() && connection.pipeline(&pipe).await.is_ok();
        if answered { pipe.len() } else { 0 }
    };
    let counts: Vec<usize> = futures::stream::iter(zones).map(trimmed).buffer_unordered(AT_ONCE).collect().await;
    Ok(counts.into_iter().sum())
}
