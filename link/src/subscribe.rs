//! Subscribing: from any number of generators, checked, put in order, completed, one stream.
//!
//! One task an endpoint connects, receives and decodes; another asks for what was missed. All put what they have into one
//! bounded queue, out of which [`Subscriber::next`] feeds the state machine that makes order ([`crate::order`], which
//! also says what happens when): a stream in which each number of each topic is, in order, a frame or part of a gap.
//!
//! Nothing happens behind the back of who calls `next`: while it is not called the queue fills, the tasks stop reading, TCP
//! stops the generator's socket, and the generator queues, then drops, for this subscriber alone. What it
//! dropped is found by its number and asked for. A slow collector thus falls back as far as the generator's ring
//! reaches before it loses anything.
//!
//! A peer that sends nothing for a while is given up and connected to anew: with a network cut, TCP would wait
//! for many minutes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use zonescope_proto::{Topic, ZoneName, decode, v1};

use crate::LinkError;
use crate::backoff::Backoff;
use crate::order::{self, Answer, Core, Fetch, Gap, Item, Note, Output, SessionId};
use crate::recover::fetch::Fetcher;
use crate::transport::{Credentials, Subscription, address_and_port, check_endpoint};

/// Frames that wait to be taken, all endpoints together. When full, reading pauses. At 1 KiB a frame some 10 MiB
/// with what decoding adds.
pub const QUEUE_FRAMES: usize = 4096;

/// A peer that is silent for this long, or for three of its intervals if that is longer, is connected to anew.
const SILENCE: Duration = Duration::from_secs(15);

/// Bad frames of one peer, and gaps that were given up, are logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What to subscribe to.
#[derive(Debug, Clone, Default)]
pub struct SubscriberOptions {
    /// Generators: `tcp://HOST:PORT` each.
    pub endpoints: Vec<String>,
    /// How to speak to them, by endpoint: publisher and recovery alike. In plain to one that is missing.
    pub credentials: HashMap<String, Credentials>,
    /// Zones to take; empty for all. Host frames always come.
    pub zones: Vec<ZoneName>,
    /// Where to go on: epoch and number of each topic that is durably stored. Whatever came after is asked for.
    pub resume: HashMap<Topic, (u64, u64)>,
    /// How patient to be, and how much to remember.
    pub order: order::Options,
}

/// A frame, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Where from.
    pub endpoint: Arc<str>,
    /// Its topic.
    pub topic: Topic,
    /// The frame: valid, within all limits.
    pub frame: v1::Frame,
    /// The same as it travelled.
    pub bytes: Bytes,
    /// It did not come when it was published, but was asked for.
    pub recovered: bool,
}

impl Received {
    /// The header. [`decode`] has seen to it that there is one.
    pub fn header(&self) -> &v1::Header {
        static NONE: v1::Header = v1::Header {
            version: 0,
            host_id: String::new(),
            host: String::new(),
            zone: None,
            epoch: 0,
            sequence: 0,
            time: 0,
            interval_ms: 0,
        };
        self.frame.header.as_ref().unwrap_or(&NONE)
    }
}

/// What happened next.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "gaps are rare, and a box a frame would be paid for by every frame")]
pub enum Event {
    /// A frame, in its place.
    Frame(Received),
    /// Frames that will never come, in their place.
    Gap(Gap),
}

/// What came and what did not, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Good frames handed out.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that were no frames, or broke a limit.
    pub bad: u64,
    /// Frames that had come before.
    pub duplicates: u64,
    /// Gaps handed out.
    pub gaps: u64,
    /// How many frames are missing in them.
    pub missing: u64,
    /// Connections made.
    pub connections: u64,
    /// Of the good frames, those that were asked for.
    pub recovered: u64,
}

#[derive(Debug, Default)]
struct Shared {
    bad: AtomicU64,
    connections: AtomicU64,
}

/// A frame on its way through the state machine. While it waits it is kept as it travelled: decoded it takes several times as
/// much.
#[derive(Debug)]
struct Parcel {
    endpoint: Arc<str>,
    topic: Topic,
    epoch: u64,
    sequence: u64,
    interval_ms: u32,
    frame: Option<Box<v1::Frame>>,
    bytes: Bytes,
    recovered: bool,
}

impl Parcel {
    /// Checks what came.
    fn new(endpoint: &Arc<str>, topic: Option<Topic>, bytes: Bytes, recovered: bool) -> Result<Self, String> {
        let frame = decode(&bytes).map_err(|e| e.to_string())?;
        let header = frame.header.as_ref().ok_or("no header")?;
        let zone = header.zone.as_ref().map_or("", |z| z.name.as_str());
        let topic = match topic {
            Some(topic) if topic.zone == zone && topic.host_id == header.host_id => topic,
            Some(topic) => return Err(format!("its topic {topic} is not its header's {zone}/{}", header.host_id)),
            None => Topic { zone: zone.to_owned(), host_id: header.host_id.clone() },
        };
        let (epoch, sequence, interval_ms) = (header.epoch, header.sequence, header.interval_ms);
        let (endpoint, frame) = (Arc::clone(endpoint), Some(Box::new(frame)));
        Ok(Parcel { endpoint, topic, epoch, sequence, interval_ms, frame, bytes, recovered })
    }

    fn open(self) -> Option<Received> {
        let Parcel { endpoint, topic, frame, bytes, recovered, .. } = self;
        // It was decoded before, so it can be again.
        let frame = frame.map_or_else(|| decode(&bytes).ok(), |frame| Some(*frame))?;
        Some(Received { endpoint, topic, frame, bytes, recovered })
    }
}

impl Item for Parcel {
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
        self.bytes.len() + size_of::<Parcel>() + self.topic.zone.len() + self.topic.host_id.len()
    }

    fn wait(&mut self) {
        self.frame = None;
    }

    fn announced(&self) -> impl Iterator<Item = (&str, u64)> {
        self.frame.iter().flat_map(|f| &f.announcement).map(|a| (a.zone.as_str(), a.sequence))
    }

    fn recovery_port(&self) -> Option<u16> {
        self.frame.as_ref().and_then(|f| u16::try_from(f.recovery_port).ok()).filter(|port| *port != 0)
    }

    fn kept_epochs(&self) -> &[u64] {
        self.frame.as_ref().map_or(&[], |f| &f.kept_epoch)
    }

    fn farewell(&self) -> bool {
        self.frame.as_ref().is_some_and(|f| f.farewell)
    }

    fn interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.interval_ms))
    }
}

/// What the tasks tell.
#[derive(Debug)]
enum Input {
    Connected(SessionId),
    Lost(SessionId),
    Frame(SessionId, Parcel),
    Answered(SessionId, u64, Answer<Parcel>),
    Failed(SessionId, u64),
}

/// Receives frames. Dropping it ends its connections.
#[derive(Debug)]
pub struct Subscriber {
    queue: mpsc::Receiver<Input>,
    fetchers: Vec<mpsc::Sender<Fetch>>,
    core: Core<Parcel>,
    counters: Counters,
    shared: Arc<Shared>,
    started: Instant,
    complained: Option<Instant>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Subscriber {
    /// Starts to connect. A generator that is not there yet is no error: it is connected to when it comes.
    ///
    /// # Errors
    /// Where an endpoint is none.
    pub async fn connect(options: SubscriberOptions) -> Result<Self, LinkError> {
        for endpoint in &options.endpoints {
            check_endpoint(endpoint)?;
        }
        let (sender, queue) = mpsc::channel(QUEUE_FRAMES);
        let shared = Arc::new(Shared::default());
        let prefixes = prefixes(&options.zones);
        let core = Core::new(options.order, options.endpoints.len(), &options.zones, &options.resume, Duration::ZERO);
        let (mut tasks, mut fetchers) = (Vec::new(), Vec::new());
        for (session, endpoint) in options.endpoints.into_iter().enumerate() {
            let credentials = options.credentials.get(&endpoint).cloned().unwrap_or_default();
            let fetcher = Fetcher::new(address_and_port(&endpoint)?.0.to_owned(), credentials.clone());
            let endpoint: Arc<str> = endpoint.into();
            let peer = Peer {
                session,
                endpoint: Arc::clone(&endpoint),
                credentials,
                prefixes: prefixes.clone(),
                queue: sender.clone(),
                shared: Arc::clone(&shared),
                complained: None,
                silence: SILENCE,
            };
            tasks.push(tokio::spawn(peer.run()));
            // The state machine has one request at a time under way.
            let (requests, pending) = mpsc::channel(1);
            fetchers.push(requests);
            tasks.push(tokio::spawn(recover(session, endpoint, fetcher, pending, sender.clone(), Arc::clone(&shared))));
        }
        let counters = Counters::default();
        let started = Instant::now();
        Ok(Subscriber { queue, fetchers, core, counters, shared, started, complained: None, tasks })
    }

    /// The next frame, host frames among them. Frames that came before are left out; gaps are only counted. Cancel-safe.
    pub async fn recv(&mut self) -> Received {
        loop {
            if let Event::Frame(received) = self.next().await {
                return received;
            }
        }
    }

    /// What happened next: every number of every topic is, in order, a frame or part of a gap. Cancel-safe.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.pop() {
                return event;
            }
            let now = self.started.elapsed();
            // All that is here comes before the passing of time: whoever was slow to call must not find gaps given up whose
            // frames have long arrived.
            match self.queue.try_recv() {
                Ok(input) => {
                    self.feed(input, now);
                    continue;
                }
                Err(mpsc::error::TryRecvError::Empty) => self.core.tick(now),
                // Tasks run as long as we live: without endpoints there is nothing to wait for, ever.
                Err(mpsc::error::TryRecvError::Disconnected) => std::future::pending().await,
            }
            self.fetch(now);
            self.log();
            if let Some(event) = self.pop() {
                return event;
            }
            let deadline = self.core.deadline().map(|at| tokio::time::Instant::from_std(self.started + at));
            let wait = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                input = self.queue.recv() => if let Some(input) = input {
                    let now = self.started.elapsed();
                    self.feed(input, now);
                    self.fetch(now);
                },
                () = wait => {}
            }
        }
    }

    fn feed(&mut self, input: Input, now: Duration) {
        match input {
            Input::Connected(session) => self.core.connected(session),
            Input::Lost(session) => self.core.lost(session),
            Input::Frame(session, parcel) => {
                if !self.core.arrived(session, parcel, now) {
                    self.counters.duplicates += 1;
                }
            }
            Input::Answered(session, id, answer) => self.core.answered(session, id, answer, now),
            Input::Failed(session, id) => self.core.failed(session, id),
        }
    }

    /// Sends the requests that are due.
    fn fetch(&mut self, now: Duration) {
        while let Some(fetch) = self.core.fetch(now) {
            let (session, id) = (fetch.session, fetch.id);
            tracing::debug!(host_id = fetch.host_id, ranges = fetch.ranges.len(), "asking for missed frames");
            if self.fetchers[session].try_send(fetch).is_err() {
                self.core.failed(session, id);
                return;
            }
        }
    }

    fn pop(&mut self) -> Option<Event> {
        loop {
            match self.core.pop()? {
                Output::Frame(parcel) => {
                    let Some(received) = parcel.open() else { continue };
                    self.counters.frames += 1;
                    self.counters.bytes += received.bytes.len() as u64;
                    self.counters.recovered += u64::from(received.recovered);
                    return Some(Event::Frame(received));
                }
                Output::Gap(gap) => {
                    self.counters.gaps += 1;
                    self.counters.missing += gap.count().unwrap_or(0);
                    tracing::debug!(topic = %gap.topic, gap.first, gap.last, reason = %gap.reason, "frames are missing for good");
                    return Some(Event::Gap(gap));
                }
            }
        }
    }

    /// Says what somebody should read.
    fn log(&mut self) {
        while let Some(note) = self.core.note() {
            match note {
                Note::Restarted { host_id, in_order: true } => {
                    tracing::info!(host_id, "the generator was restarted; nothing is missing of what it was");
                }
                Note::Restarted { host_id, in_order: false } => {
                    tracing::warn!(
                        host_id,
                        "the generator was restarted without taking leave: asking what it has kept"
                    );
                }
                Note::Two { host_id } => tracing::warn!(
                    host_id,
                    "two generators say that they are this host: both are taken, as two epochs; give one another host_id"
                ),
                Note::GaveUp { host_id, reason } => {
                    if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
                        self.complained = Some(Instant::now());
                        tracing::warn!(host_id, %reason, "missed frames were given up: see the gaps");
                    }
                }
            }
        }
    }

    /// What came and what did not.
    pub fn counters(&self) -> Counters {
        Counters {
            bad: self.shared.bad.load(Relaxed),
            connections: self.shared.connections.load(Relaxed),
            ..self.counters
        }
    }

    /// How far each topic has been handed out: epoch and number. Another subscriber with other options can resume there.
    pub fn positions(&self) -> HashMap<Topic, (u64, u64)> {
        self.core.positions()
    }

    /// Bytes of frames that wait for earlier ones.
    pub fn waiting_bytes(&self) -> usize {
        self.core.held_bytes()
    }
}

/// Subscriptions that take `zones` and the host frames; everything where `zones` is empty. The host frames come last: with the
/// first of them, all of the others are in force.
fn prefixes(zones: &[ZoneName]) -> Vec<String> {
    if zones.is_empty() {
        return vec![String::new()];
    }
    zones.iter().map(Topic::subscription).chain(["/".to_owned()]).collect()
}

/// Asks one generator for what was missed of it.
async fn recover(
    session: SessionId,
    endpoint: Arc<str>,
    mut fetcher: Fetcher,
    mut requests: mpsc::Receiver<Fetch>,
    queue: mpsc::Sender<Input>,
    shared: Arc<Shared>,
) {
    while let Some(fetch) = fetcher.next(&mut requests).await {
        let input = match fetcher.ask(&fetch).await {
            Some(reply) => Input::Answered(session, fetch.id, answer(&endpoint, reply, &shared)),
            None => Input::Failed(session, fetch.id),
        };
        if queue.send(input).await.is_err() {
            return;
        }
    }
}

/// A reply, checked like everything that comes from outside.
fn answer(endpoint: &Arc<str>, reply: v1::RecoveryReply, shared: &Shared) -> Answer<Parcel> {
    let frames = reply.frame.into_iter().filter_map(|bytes| {
        // A frame of its own, not a slice that keeps the whole reply in memory.
        let parcel = Parcel::new(endpoint, None, Bytes::copy_from_slice(&bytes), true);
        if parcel.is_err() {
            shared.bad.fetch_add(1, Relaxed);
        }
        let mut parcel = parcel.ok()?;
        if !parcel.topic.zone.is_empty() {
            parcel.wait();
        }
        Some(parcel)
    });
    let missing = reply.missing.iter().map(|m| (m.zone.clone(), m.first, m.last, m.absence())).collect();
    let wait = (reply.wait_ms > 0).then(|| Duration::from_millis(u64::from(reply.wait_ms)));
    Answer { frames: frames.collect(), missing, wait }
}

/// One generator, as its task sees it.
struct Peer {
    session: SessionId,
    endpoint: Arc<str>,
    credentials: Credentials,
    prefixes: Vec<String>,
    queue: mpsc::Sender<Input>,
    shared: Arc<Shared>,
    complained: Option<Instant>,
    silence: Duration,
}

impl Peer {
    async fn run(mut self) {
        let mut backoff = Backoff::connect();
        let mut said = false;
        loop {
            match Subscription::connect(&self.endpoint, &self.prefixes, &self.credentials).await {
                Ok(subscription) => {
                    tracing::info!(endpoint = %self.endpoint, "connected");
                    self.shared.connections.fetch_add(1, Relaxed);
                    backoff.reset();
                    said = false;
                    let _ = self.queue.send(Input::Connected(self.session)).await;
                    let why = self.receive(subscription).await;
                    if self.queue.send(Input::Lost(self.session)).await.is_err() {
                        return;
                    }
                    tracing::warn!(endpoint = %self.endpoint, reason = %why, "connection lost, connecting again");
                }
                Err(error) if !said => {
                    tracing::warn!("{error}: trying until it answers");
                    said = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(backoff.wait()).await;
        }
    }

    /// Receives until the connection ends; says why it did.
    async fn receive(&mut self, mut subscription: Subscription) -> String {
        loop {
            let message = match tokio::time::timeout(self.silence, subscription.receive()).await {
                Err(_) => return format!("silent for {} s", self.silence.as_secs()),
                Ok(Err(error)) => return error.to_string(),
                Ok(Ok(message)) => message,
            };
            match message.ok_or_else(|| "not [topic, frame]".to_owned()).and_then(|(t, f)| self.check(&t, f)) {
                Ok(parcel) => {
                    self.silence = SILENCE.max(parcel.interval() * 3);
                    if self.queue.send(Input::Frame(self.session, parcel)).await.is_err() {
                        return "nobody listens any more".to_owned();
                    }
                }
                Err(reason) => self.complain(&reason),
            }
        }
    }

    fn check(&self, topic: &[u8], bytes: Bytes) -> Result<Parcel, String> {
        let topic = Topic::parse(topic).ok_or("its topic is not ZONE/HOST")?;
        Parcel::new(&self.endpoint, Some(topic), bytes, false)
    }

    /// Counts a bad message, and says so once a minute.
    fn complain(&mut self, reason: &str) {
        let bad = self.shared.bad.fetch_add(1, Relaxed) + 1;
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(endpoint = %self.endpoint, bad, "dropped a message that is no frame: {reason}");
        }
    }
}
