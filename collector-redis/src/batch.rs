//! One batch: the frames of one or several hosts' ticks become one transaction a zone, all sent at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use zonescope_proto::{decode, v1};

use crate::backlog::{Held, Kind};
use crate::connect::Connection;
use crate::derive::Past;
use crate::encode::{Style, Transaction};
use crate::keys;
use crate::resume;
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

/// A host, as its frames and those of its zones show it.
#[derive(Debug, Default)]
struct Host {
    zones: HashSet<Arc<str>>,
}

/// What is known of everything in Redis, and what derived values need.
#[derive(Debug, Default)]
pub struct Knowledge {
    zones: HashMap<Arc<str>, Stored>,
    pasts: HashMap<Arc<str>, Past>,
    hosts: HashMap<String, Host>,
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
    /// Zones whose frames are to be written again, and why.
    pub failed: HashMap<Arc<str>, Trouble>,
    /// What went wrong with indexes and hosts.
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
        hosts.retain(|_, host| {
            host.zones.retain(|tag| zones.contains_key(tag));
            !host.zones.is_empty()
        });
    }

    /// Whether it is known what Redis holds of the zone.
    pub fn knows(&self, tag: &str) -> bool {
        self.zones.contains_key(tag)
    }

    /// Zones that are remembered.
    pub fn zones(&self) -> usize {
        self.zones.len()
    }

    /// Writes `frames`. `lost` says what our own backlog has lost of a zone before them.
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
        let sides = self.sides(context, &batch);
        self.send(connection, transactions, sides, &mut outcome).await;

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
        let latest = events.iter().rposition(|event| matches!(event, Event::Frame(_)));
        for lost in lost {
            self.done.missing += transaction.lost(lost);
        }
        for (place, event) in events.into_iter().enumerate() {
            let frame = match event {
                Event::Frame(frame) => frame,
                Event::Lost(lost) => {
                    self.done.missing += transaction.lost(lost);
                    continue;
                }
            };
            let Some(header) = &frame.header else { continue };
            let host = self.hosts.entry(header.host_id.clone()).or_default();
            if !host.zones.contains(tag) {
                host.zones.insert(Arc::clone(tag));
            }
            match transaction.stored().arrival(header, context.style.keep_ms) {
                Arrival::Passed => {
                    self.done.passed += 1;
                    past.pass(frame);
                }
                Arrival::New { id, missing, restart } => {
                    if restart {
                        tracing::warn!(zone = %tag, "the host's clock was set back by more than the history holds: its history begins anew");
                        transaction.restart();
                    }
                    self.done.frames += 1;
                    self.done.missing += missing;
                    transaction.frame(past, frame, id, missing, Some(place) == latest);
                }
            }
        }
        self.done.left_out += transaction.left_out;
        let (pipe, stored) = transaction.finish();
        self.zones.insert(Arc::clone(tag), stored);
        pipe
    }

    /// What lies outside of zones: indexes and hosts. Written over and over, it needs no transaction.
    fn sides(&self, context: Context<'_>, batch: &Batch) -> Vec<Cmd> {
        let keys = &context.style.keys;
        let mut sides = Vec::new();
        let mut index = |key: String, members: &mut dyn Iterator<Item = (&str, u64)>| {
            let mut zadd = cmd("ZADD");
            zadd.arg(&key).arg("GT");
            let mut count = 0;
            for (member, seen_ms) in members {
                zadd.arg(seen_ms).arg(member);
                count += 1;
            }
            if count > 0 {
                sides.push(zadd);
                sides.push(context.style.expire_command(&key));
            }
        };
        index(keys.zones(), &mut batch.seen.iter().map(|(tag, ms)| (&**tag, *ms)));
        index(keys.hosts(), &mut batch.hosts_seen.iter().map(|(host, ms)| (host.as_str(), *ms)));
        for HostFrame { header, zones: announced } in &batch.hosts {
            let zones = self.hosts.get(&header.host_id).into_iter().flat_map(|h| &h.zones);
            let (frames, missing) = zones
                .filter_map(|tag| self.zones.get(tag))
                .fold((0, 0), |(frames, missing), stored| (frames + stored.frames, missing + stored.missing));
            let key = keys.host(&header.host_id);
            let mut hset = cmd("HSET");
            hset.arg(&key).arg("host").arg(&header.host).arg("host_id").arg(&header.host_id);
            hset.arg("time").arg(header.time / 1_000_000).arg("interval_ms").arg(header.interval_ms);
            hset.arg("epoch").arg(header.epoch).arg("sequence").arg(header.sequence).arg("zones").arg(*announced);
            hset.arg("frames").arg(frames).arg("missing").arg(missing);
            hset.arg("completeness").arg(completeness(frames, missing));
            sides.push(hset);
            sides.push(context.style.expire_command(&key));
        }
        sides
    }

    async fn send(
        &mut self,
        connection: &Connection,
        transactions: Vec<(Arc<str>, Pipeline)>,
        sides: Vec<Cmd>,
        outcome: &mut Outcome,
    ) {
        let zones = join_all(transactions.iter().map(|(_, pipe)| connection.pipeline(pipe)));
        let sides = join_all(sides.iter().map(|side| connection.command(side)));
        let (zones, sides) = futures::future::join(zones, sides).await;
        for ((tag, _), answers) in transactions.iter().zip(zones) {
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
        outcome.trouble = sides.into_iter().find_map(Result::err);
    }
}

/// `0.999998`: the share of frames that came.
fn completeness(frames: u64, missing: u64) -> String {
    let all = frames + missing;
    format!("{:.6}", if all == 0 { 1.0 } else { frames as f64 / all as f64 })
}

/// The frames of a batch, sorted.
#[derive(Default)]
struct Batch {
    zones: Vec<(Arc<str>, Vec<Event>)>,
    places: HashMap<Arc<str>, usize>,
    hosts: Vec<HostFrame>,
    numbers: Vec<(Arc<str>, u64)>,
    seen: HashMap<Arc<str>, u64>,
    hosts_seen: HashMap<String, u64>,
}

/// What happened to a zone.
enum Event {
    Frame(v1::Frame),
    Lost(Lost),
}

struct HostFrame {
    header: v1::Header,
    zones: usize,
}

impl Batch {
    fn sort(&mut self, number: u64, held: Held, outcome: &mut Outcome) {
        let event = match held.kind {
            Kind::Gap(lost) => Event::Lost(lost),
            // The link has decoded it before; nothing that got here can fail to decode.
            Kind::Zone | Kind::Host => match decode(&held.bytes) {
                Ok(frame) => Event::Frame(frame),
                Err(_) => return outcome.done.push(number),
            },
        };
        self.numbers.push((Arc::clone(&held.tag), number));
        if let Event::Frame(v1::Frame { header: Some(header), announcement, .. }) = &event {
            let arrived_ms = held.arrived_ns / 1_000_000;
            self.hosts_seen.insert(keys::escape(&header.host_id).into_owned(), arrived_ms);
            if held.kind == Kind::Host {
                self.hosts.push(HostFrame { header: header.clone(), zones: announcement.len() });
                return;
            }
            self.seen.insert(Arc::clone(&held.tag), arrived_ms);
        }
        let place = *self.places.entry(Arc::clone(&held.tag)).or_insert_with(|| {
            self.zones.push((held.tag, Vec::new()));
            self.zones.len() - 1
        });
        self.zones[place].1.push(event);
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
