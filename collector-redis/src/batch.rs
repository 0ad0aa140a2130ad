//! One batch: the frames of one or several hosts' ticks become one transaction a zone, all sent at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use zonescope_proto::{decode, v1};

use crate::backlog::{Held, Kind};
use crate::connect::Connection;
use crate::derive::Past;
use crate::encode::{Transaction, Writing};
use crate::host::{HostEvents, Sums};
use crate::keys;
use crate::resume;
use crate::style::Style;
use crate::trouble::Trouble;
use crate::zone::{Arrival, Lost, Stored};

/// What has been done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// Frames written.
    pub frames: u64,
    /// Frames passed over as Redis had them.
    pub passed: u64,
    /// Frames that went on record as missing.
    pub missing: u64,
    /// History entries that Redis refused as it had them.
    pub repeated: u64,
    /// Commands that Redis refused for another reason.
    pub refused: u64,
    /// Rows left out, their zone having too many tables.
    pub left_out: u64,
}

/// What is known of everything in Redis, and what derived values need.
#[derive(Debug, Default)]
pub struct Knowledge {
    zones: HashMap<Arc<str>, Stored>,
    pasts: HashMap<Arc<str>, Past>,
    /// Zones of each host, by the host's escaped id.
    hosts: HashMap<String, HashSet<Arc<str>>>,
    /// What has been done.
    pub done: Done,
}

/// Everything a batch needs beside its frames.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// How things are stored.
    pub style: &'a Style,
    /// How long history is kept just now, ms.
    pub keep_ms: u64,
    /// Our clock, ms.
    pub now_ms: u64,
}

/// What became of a batch.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Frames that are done with.
    pub done: Vec<u64>,
    /// Tags of zones and hosts whose frames are to be written again, and why.
    pub failed: HashMap<Arc<str>, Trouble>,
    /// What went wrong with the indexes.
    pub trouble: Option<Trouble>,
    /// The first command that Redis refused for good.
    pub refused: Option<String>,
}

impl Knowledge {
    /// Begins with what Redis holds.
    pub fn begin(&mut self, zones: HashMap<Arc<str>, Stored>) {
        self.zones = zones;
    }

    /// What Redis holds of these zones is not known any more.
    pub fn forget(&mut self, of: impl Fn(&str) -> bool) {
        self.zones.retain(|tag, _| !of(tag));
        self.pasts.retain(|tag, _| !of(tag));
    }

    /// Zones that have not come since `oldest_ms` are not remembered. Should one come again, it is read from Redis.
    pub fn sweep(&mut self, oldest_ms: u64) {
        self.zones.retain(|_, stored| stored.seen_ms >= oldest_ms);
        let Knowledge { zones, pasts, hosts, .. } = self;
        pasts.retain(|tag, _| zones.contains_key(tag));
        hosts.retain(|_, of_host| {
            of_host.retain(|tag| zones.contains_key(tag));
            !of_host.is_empty()
        });
    }

    /// Zones that are remembered.
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// Writes `frames`. `lost` says what our own backlog has lost of a zone or host before them.
    pub async fn write(
        &mut self,
        connection: &Connection,
        context: Context<'_>,
        frames: Vec<(u64, Held)>,
        lost: impl Fn(&str) -> Vec<Lost>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut batch = Batch::default();
        for (number, held) in frames {
            batch.sort(number, held, &mut outcome);
        }
        self.learn(connection, context, &batch, &mut outcome).await;

        let mut transactions = Vec::with_capacity(batch.zones.len());
        for (tag, events) in &mut batch.zones {
            if !outcome.failed.contains_key(tag) {
                let pipe = self.transaction(context, tag, lost(tag), std::mem::take(events));
                transactions.push((Arc::clone(tag), pipe));
            }
        }
        for (tag, events) in &mut batch.hosts {
            events.gaps.splice(..0, lost(tag));
            let host = keys::host_of(tag).unwrap_or(tag);
            transactions.push((Arc::clone(tag), events.transaction(context.style, host, self.sums(host))));
        }
        self.send(connection, transactions, batch.indexes(context.style), &mut outcome).await;

        let failed = &outcome.failed;
        outcome.done.extend(batch.numbers.iter().filter(|(tag, _)| !failed.contains_key(tag)).map(|(_, n)| n));
        self.forget(|tag| outcome.failed.contains_key(tag));
        outcome
    }

    /// Reads from Redis what is not known of the zones of this batch.
    async fn learn(&mut self, connection: &Connection, context: Context<'_>, batch: &Batch, outcome: &mut Outcome) {
        let unknown: Vec<_> =
            batch.zones.iter().map(|(tag, _)| tag).filter(|tag| !self.zones.contains_key(*tag)).cloned().collect();
        if unknown.is_empty() {
            return;
        }
        for (tag, read) in resume::read(connection, &context.style.keys, unknown, context.now_ms).await {
            match read {
                Ok(stored) => {
                    self.zones.insert(tag, stored);
                }
                Err(trouble) => {
                    outcome.failed.insert(tag, trouble);
                }
            }
        }
    }

    /// The transaction that writes what happened to one zone, as far as Redis has it not.
    fn transaction(&mut self, context: Context<'_>, tag: &Arc<str>, lost: Vec<Lost>, events: Vec<Event>) -> Pipeline {
        let stored = self.zones.remove(tag).unwrap_or_default();
        let mut transaction = Transaction::new(context.style, Arc::clone(tag), stored, context.keep_ms, context.now_ms);
        let past = self.pasts.entry(Arc::clone(tag)).or_default();
        let latest = events.iter().rposition(|event| matches!(event, Event::Frame { .. }));
        let of_host = tag.split_once('/').map_or("", |(host, _)| host);
        if !self.hosts.get(of_host).is_some_and(|zones| zones.contains(tag)) {
            self.hosts.entry(of_host.to_owned()).or_default().insert(Arc::clone(tag));
        }
        for lost in lost {
            self.done.missing += transaction.lost(lost);
        }
        for (place, event) in events.into_iter().enumerate() {
            let (frame, recovered) = match event {
                Event::Frame { frame, recovered } => (frame, recovered),
                Event::Lost(lost) => {
                    self.done.missing += transaction.lost(lost);
                    continue;
                }
            };
            let Some(header) = &frame.header else { continue };
            match transaction.stored().arrival(header, context.style.keep_ms) {
                Arrival::Passed => {
                    self.done.passed += 1;
                    past.pass(*frame);
                }
                Arrival::New { id, missing, restart } => {
                    if restart {
                        tracing::warn!(zone = %tag, "the host's clock was set back by more than the history holds: its history begins anew");
                        transaction.restart();
                    }
                    self.done.frames += 1;
                    self.done.missing += missing;
                    let writing = Writing { id, missing, recovered, latest: Some(place) == latest };
                    transaction.frame(past, *frame, writing);
                }
            }
        }
        self.done.left_out += transaction.left_out;
        let (pipe, stored) = transaction.finish();
        self.zones.insert(Arc::clone(tag), stored);
        pipe
    }

    /// How complete the frames of a host's zones are.
    fn sums(&self, host: &str) -> Sums {
        let zones = self.hosts.get(host).into_iter().flatten().filter_map(|tag| self.zones.get(tag));
        zones.fold(Sums::default(), |sums, zone| Sums {
            frames: sums.frames + zone.frames,
            recovered: sums.recovered + zone.recovered,
            missing: sums.missing + zone.missing,
        })
    }

    async fn send(
        &mut self,
        connection: &Connection,
        transactions: Vec<(Arc<str>, Pipeline)>,
        indexes: Vec<Cmd>,
        outcome: &mut Outcome,
    ) {
        let all = join_all(transactions.iter().map(|(_, pipe)| connection.pipeline(pipe)));
        let indexes = join_all(indexes.iter().map(|index| connection.command(index)));
        let (all, indexes) = futures::future::join(all, indexes).await;
        for ((tag, _), answers) in transactions.iter().zip(all) {
            match answers.and_then(executed) {
                Ok(Executed { repeated, refused, why }) => {
                    self.done.repeated += repeated;
                    self.done.refused += refused;
                    outcome.refused = outcome.refused.take().or(why.map(|why| format!("{tag}: {why}")));
                }
                Err(trouble) => {
                    outcome.failed.insert(Arc::clone(tag), trouble);
                }
            }
        }
        outcome.trouble = indexes.into_iter().find_map(Result::err);
    }
}

/// The frames of a batch, sorted.
#[derive(Default)]
struct Batch {
    zones: Vec<(Arc<str>, Vec<Event>)>,
    places: HashMap<Arc<str>, usize>,
    hosts: HashMap<Arc<str>, HostEvents>,
    numbers: Vec<(Arc<str>, u64)>,
    seen: HashMap<Arc<str>, u64>,
    hosts_seen: HashMap<String, u64>,
}

/// What happened to a zone.
enum Event {
    Frame { frame: Box<v1::Frame>, recovered: bool },
    Lost(Lost),
}

impl Batch {
    fn sort(&mut self, number: u64, held: Held, outcome: &mut Outcome) {
        let event = match held.kind {
            Kind::Gap(lost) => Event::Lost(lost),
            // The link has decoded it before; nothing that got here can fail to decode.
            Kind::Zone | Kind::Host => match decode(&held.bytes) {
                Ok(frame) => Event::Frame { frame: Box::new(frame), recovered: held.recovered },
                Err(_) => return outcome.done.push(number),
            },
        };
        self.numbers.push((Arc::clone(&held.tag), number));
        if let Event::Frame { .. } = &event {
            let arrived_ms = held.arrived_ns / 1_000_000;
            if let Some((host, zone)) = held.tag.split_once('/') {
                if let Some(seen) = self.hosts_seen.get_mut(host) {
                    *seen = arrived_ms;
                } else {
                    self.hosts_seen.insert(host.to_owned(), arrived_ms);
                }
                if !zone.is_empty() {
                    self.seen.insert(Arc::clone(&held.tag), arrived_ms);
                }
            }
        }
        if keys::host_of(&held.tag).is_some() {
            let host = self.hosts.entry(held.tag).or_default();
            match event {
                Event::Lost(lost) => host.gaps.push(lost),
                Event::Frame { frame, .. } => {
                    let zones = frame.announcement.len();
                    host.frame = frame.header.map(|header| (header, zones));
                }
            }
            return;
        }
        let place = *self.places.entry(Arc::clone(&held.tag)).or_insert_with(|| {
            self.zones.push((held.tag, Vec::new()));
            self.zones.len() - 1
        });
        self.zones[place].1.push(event);
    }

    /// Who was seen when. Written over and over, the indexes need no transaction.
    fn indexes(&self, style: &Style) -> Vec<Cmd> {
        let zones = self.seen.iter().map(|(tag, ms)| (&**tag, *ms)).collect::<Vec<_>>();
        let hosts = self.hosts_seen.iter().map(|(host, ms)| (host.as_str(), *ms)).collect();
        let mut commands = Vec::new();
        for (key, members) in [(style.keys.zones(), zones), (style.keys.hosts(), hosts)] {
            if members.is_empty() {
                continue;
            }
            let mut zadd = cmd("ZADD");
            zadd.arg(&key).arg("GT");
            for (member, seen_ms) in members {
                zadd.arg(seen_ms).arg(member);
            }
            commands.extend([zadd, style.expire_command(&key)]);
        }
        commands
    }
}

struct Executed {
    repeated: u64,
    refused: u64,
    why: Option<String>,
}

/// Whether a transaction was executed, by the answers to all of its commands.
fn executed(mut answers: Vec<Value>) -> Result<Executed, Trouble> {
    let Some(Value::Array(results)) = answers.pop() else {
        let error = answers.iter().find_map(|answer| match answer {
            Value::ServerError(error) => Some(Trouble::of_server(error)),
            _ => None,
        });
        return Err(error.unwrap_or_else(|| Trouble::Other("a transaction was discarded".to_owned())));
    };
    let mut executed = Executed { repeated: 0, refused: 0, why: None };
    for result in results {
        let Value::ServerError(error) = result else { continue };
        if error.details().is_some_and(|d| d.contains("equal or smaller than the target stream top item")) {
            executed.repeated += 1;
        } else {
            executed.refused += 1;
            executed.why.get_or_insert_with(|| format!("{} {}", error.code(), error.details().unwrap_or_default()));
        }
    }
    Ok(executed)
}
