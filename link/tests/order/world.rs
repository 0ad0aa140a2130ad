//! A made-up world: generators with real rings, connections that can be cut and muddled, a subscriber's core.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zonescope_link::clock::Clock;
use zonescope_link::order::{Answer, Core, Fetch, Gap, Item, Options, Output};
use zonescope_link::recover::Kept;
use zonescope_link::recover::answer::answer;
use zonescope_link::ring::{self, Ring};
use zonescope_link::scope::View;
use zonescope_link::spool::{self, Spool};
use zonescope_proto::{FORMAT_VERSION, Topic, v1};

pub(crate) const S: Duration = Duration::from_secs(1);
pub(crate) const HOST: &str = "h1";

/// What travels instead of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: Topic,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) announced: Vec<(String, u64)>,
    pub(crate) port: Option<u16>,
    pub(crate) farewell: bool,
    pub(crate) kept: Vec<u64>,
}

impl Item for Message {
    fn topic(&self) -> &Topic {
        &self.topic
    }
    fn epoch(&self) -> u64 {
        self.epoch
    }
    fn sequence(&self) -> u64 {
        self.sequence
    }
    fn bytes(&self) -> usize {
        100
    }
    fn announced(&self) -> impl Iterator<Item = (&str, u64)> {
        self.announced.iter().map(|(zone, last)| (zone.as_str(), *last))
    }
    fn recovery_port(&self) -> Option<u16> {
        self.port
    }
    fn kept_epochs(&self) -> &[u64] {
        &self.kept
    }
    fn farewell(&self) -> bool {
        self.farewell
    }
    fn interval(&self) -> Duration {
        S
    }
}

impl Message {
    /// As it is kept: text is enough.
    fn bytes_of(&self) -> Bytes {
        let announced: Vec<String> = self.announced.iter().map(|(z, n)| format!("{z}={n}")).collect();
        let port = self.port.unwrap_or(0);
        Bytes::from(format!(
            "{}|{}|{}|{}|{port}|{}",
            self.topic,
            self.epoch,
            self.sequence,
            announced.join(","),
            self.farewell
        ))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let fields: Vec<&str> = std::str::from_utf8(bytes).unwrap().split('|').collect();
        let announced = fields[3].split(',').filter_map(|a| a.split_once('='));
        Message {
            topic: Topic::parse(fields[0].as_bytes()).unwrap(),
            epoch: fields[1].parse().unwrap(),
            sequence: fields[2].parse().unwrap(),
            announced: announced.map(|(z, n)| (z.to_owned(), n.parse().unwrap())).collect(),
            port: fields[4].parse().ok().filter(|p| *p != 0),
            farewell: fields[5] == "true",
            kept: Vec::new(),
        }
    }
}

/// A clock for the spool.
struct Never;

impl Clock for Never {
    fn now_ns(&self) -> u64 {
        1
    }
}

/// A generator: numbers, keeps, answers.
pub(crate) struct Generator {
    pub(crate) host_id: String,
    pub(crate) epoch: u64,
    pub(crate) last: BTreeMap<String, u64>,
    pub(crate) port: Option<u16>,
    pub(crate) kept: Kept,
    kept_epochs: Vec<u64>,
    spooled: u64,
    now: Duration,
}

impl Generator {
    pub(crate) fn start(host_id: &str, epoch: u64, ring_frames: u64, spool: Option<&Path>) -> Self {
        let mut kept_epochs = Vec::new();
        let spool = spool.map(|directory| {
            let limits = spool::Limits::default();
            let mut spool = Spool::open(directory, limits, host_id, Arc::new(Never)).unwrap();
            kept_epochs = spool.epochs();
            spool.start(epoch).unwrap();
            spool
        });
        let limits = ring::Limits { bytes: ring_frames * (ring::OVERHEAD_BYTES + 100), age: 1_000_000 * S };
        let kept = Kept::new(host_id.to_owned(), epoch, Ring::new(limits), spool);
        let last = BTreeMap::new();
        Generator {
            host_id: host_id.to_owned(),
            epoch,
            last,
            port: Some(7212),
            kept,
            kept_epochs,
            spooled: 0,
            now: Duration::ZERO,
        }
    }

    /// Publishes the frame of one zone.
    pub(crate) fn publish(&mut self, zone: &str) -> Message {
        self.seal(zone, Vec::new(), false)
    }

    /// Publishes a host frame.
    pub(crate) fn announce(&mut self, farewell: bool) -> Message {
        let announced = self.last.iter().filter(|(z, _)| !z.is_empty()).map(|(z, n)| (z.clone(), *n)).collect();
        self.seal("", announced, farewell)
    }

    fn seal(&mut self, zone: &str, announced: Vec<(String, u64)>, farewell: bool) -> Message {
        let sequence = self.last.get(zone).copied().unwrap_or(0) + 1;
        self.last.insert(zone.to_owned(), sequence);
        let topic = Topic::new(zone, &self.host_id).unwrap();
        let port = self.port.filter(|_| zone.is_empty());
        let kept = if zone.is_empty() { self.kept_epochs.clone() } else { Vec::new() };
        let message = Message { topic, epoch: self.epoch, sequence, announced, port, farewell, kept };
        self.now += S;
        self.kept.ring().push(zone, 1, sequence, message.bytes_of(), self.now);
        if let Some(spool) = self.kept.spool() {
            spool.push(zone, 1, sequence, message.bytes_of());
            self.spooled += 1;
        }
        message
    }

    /// Publishes a tick of these zones.
    pub(crate) fn tick(&mut self, zones: &[&str]) -> Vec<Message> {
        let mut messages: Vec<Message> = zones.iter().map(|zone| self.publish(zone)).collect();
        messages.push(self.announce(false));
        messages
    }

    /// What it answers.
    pub(crate) fn answer(&self, fetch: &Fetch, most: usize) -> Answer<Message> {
        // The world's time passes faster than a disk writes.
        while self.kept.spool().is_some_and(|spool| spool.done() < self.spooled) {
            std::thread::sleep(Duration::from_micros(100));
        }
        let range = fetch
            .ranges
            .iter()
            .map(|(zone, first, last)| v1::Range { zone: zone.to_string(), first: *first, last: *last })
            .collect();
        let (id, host_id, epoch) = (fetch.id, fetch.host_id.clone(), fetch.epoch);
        let request = v1::RecoveryRequest { version: FORMAT_VERSION, id, host_id, epoch, range };
        let reply = answer(&request, &self.kept, &View::default(), most);
        Answer {
            frames: reply.frame.iter().map(|bytes| Message::of_bytes(bytes)).collect(),
            missing: reply.missing.iter().map(|m| (m.zone.clone(), m.first, m.last, m.absence())).collect(),
            wait: None,
        }
    }
}

/// Everything that came out, by topic and epoch, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    Frame(u64),
    Gap(Gap),
}

/// A subscriber: a core, and what it handed out.
pub(crate) struct Subscriber {
    pub(crate) core: Core<Message>,
    pub(crate) now: Duration,
    /// Everything, in the order in which it came.
    pub(crate) all: Vec<(String, u64, Came)>,
    /// What is durably stored: here, everything at once.
    pub(crate) stored: HashMap<Topic, (u64, u64)>,
    options: Options,
    sessions: usize,
    pub(crate) pending: VecDeque<Fetch>,
}

impl Subscriber {
    pub(crate) fn new(options: Options, sessions: usize) -> Self {
        let core = Core::new(options, sessions, &[], &HashMap::new(), Duration::ZERO);
        let (all, stored, pending) = (Vec::new(), HashMap::new(), VecDeque::new());
        Subscriber { core, now: Duration::ZERO, all, stored, options, sessions, pending }
    }

    /// Killed and started again: goes on where the store says.
    pub(crate) fn restart(&mut self) {
        self.core = Core::new(self.options, self.sessions, &[], &self.stored, self.now);
        self.pending.clear();
    }

    pub(crate) fn connected(&mut self, session: usize) {
        self.core.connected(session);
    }

    pub(crate) fn lost(&mut self, session: usize) {
        self.core.lost(session);
        self.pump();
    }

    pub(crate) fn deliver(&mut self, session: usize, messages: impl IntoIterator<Item = Message>) {
        for message in messages {
            self.core.arrived(session, message, self.now);
            self.pump();
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.tick(self.now);
        self.pump();
    }

    /// Takes what is ready, and the requests that are due.
    pub(crate) fn pump(&mut self) {
        while let Some(output) = self.core.pop() {
            let (topic, epoch, last, came) = match output {
                Output::Frame(m) => (m.topic, m.epoch, m.sequence, Came::Frame(m.sequence)),
                Output::Gap(gap) => {
                    // A gap without end: nobody knows a last number to go on from.
                    let last = if gap.count().is_some() { gap.last } else { gap.first - 1 };
                    (gap.topic.clone(), gap.epoch, last, Came::Gap(gap))
                }
            };
            self.all.push((topic.zone.clone(), epoch, came));
            self.stored.insert(topic, (epoch, last));
        }
        while let Some(fetch) = self.core.fetch(self.now) {
            self.pending.push_back(fetch);
        }
    }

    /// Has its next request answered.
    pub(crate) fn ask(&mut self, generator: &Generator, most: usize) -> bool {
        let Some(fetch) = self.pending.pop_front() else { return false };
        let answer = generator.answer(&fetch, most);
        self.core.answered(fetch.session, fetch.id, answer, self.now);
        self.pump();
        true
    }

    /// Asks until it has nothing more to ask.
    pub(crate) fn recover(&mut self, generator: &Generator) {
        for _ in 0..1000 {
            if !self.ask(generator, usize::MAX) {
                return;
            }
        }
        panic!("it asks without end: {:?}", self.pending);
    }

    /// Loses its next request, or the answer to it.
    pub(crate) fn fail(&mut self) {
        if let Some(fetch) = self.pending.pop_front() {
            self.core.failed(fetch.session, fetch.id);
            self.pump();
        }
    }

    /// What came of one topic: epoch and number, or a gap's epoch, numbers and reason.
    pub(crate) fn of(&self, zone: &str) -> Vec<String> {
        let of_zone = self.all.iter().filter(|(z, ..)| z == zone);
        of_zone
            .map(|(_, epoch, came)| match came {
                Came::Frame(n) => format!("{epoch}:{n}"),
                Came::Gap(g) if g.count().is_none() => format!("{epoch}:{}.. {}", g.first, g.reason),
                Came::Gap(g) => format!("{epoch}:{}-{} {}", g.first, g.last, g.reason),
            })
            .collect()
    }

    /// All gaps, as [`Subscriber::of`] writes them.
    pub(crate) fn gaps(&self) -> Vec<&Gap> {
        self.all.iter().filter_map(|(_, _, came)| if let Came::Gap(gap) = came { Some(gap) } else { None }).collect()
    }
}
