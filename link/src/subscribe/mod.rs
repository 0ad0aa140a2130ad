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

mod parcel;
mod peer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zonescope_proto::{Topic, ZoneName};

use crate::LinkError;
use crate::order::{self, Core, Fetch, Gap, Note, Output};
use crate::recover::fetch::Fetcher;
use crate::transport::{Endpoint, address_and_port, check_endpoint};

use parcel::Parcel;
pub use parcel::Received;
use peer::{Input, Peer, Shared};

/// Frames that come in a bunch, at most: what has arrived when the first of them has. Whoever takes frames is woken once a bunch, which
/// costs more than a frame.
pub const BUNCH: usize = 64;

/// Bunches that wait to be taken, all endpoints together. When full, reading pauses. At 64 frames of 1 KiB some 20 MiB with what
/// decoding adds.
pub const QUEUE_BUNCHES: usize = 64;

/// Bad frames of one peer, and gaps that were given up, are logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What to subscribe to.
#[derive(Debug, Clone, Default)]
pub struct SubscriberOptions {
    /// Generators.
    pub endpoints: Vec<Endpoint>,
    /// Zones to take; empty for all. Host frames always come.
    pub zones: Vec<ZoneName>,
    /// Where to go on: epoch and number of each topic that is durably stored. Whatever came after is asked for. Topics of zones
    /// that are not taken are passed over.
    pub resume: HashMap<Topic, (u64, u64)>,
    /// How patient to be, and how much to remember.
    pub order: order::Options,
}

impl SubscriberOptions {
    /// Where the generators are, for people.
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.endpoints.iter().map(|endpoint| endpoint.address.as_str()).collect();
        addresses.join(",")
    }
}

/// What happened next.
#[derive(Debug, Clone)]
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
        let SubscriberOptions { endpoints, zones, mut resume, order } = options;
        for endpoint in &endpoints {
            check_endpoint(&endpoint.address)?;
        }
        resume.retain(|topic, _| takes(&zones, &topic.zone));
        let (sender, queue) = mpsc::channel(QUEUE_BUNCHES);
        let shared = Arc::new(Shared::default());
        let prefixes = prefixes(&zones);
        let core = Core::new(order, endpoints.len(), &zones, &resume, Duration::ZERO);
        let (mut tasks, mut fetchers) = (Vec::new(), Vec::new());
        for (session, Endpoint { address, credentials }) in endpoints.into_iter().enumerate() {
            let fetcher = Fetcher::new(address_and_port(&address)?.0.to_owned(), credentials.clone());
            let endpoint: Arc<str> = address.into();
            let peer = Peer::new(
                session,
                Arc::clone(&endpoint),
                credentials,
                prefixes.clone(),
                sender.clone(),
                Arc::clone(&shared),
            );
            tasks.push(tokio::spawn(peer.run()));
            // The state machine has one request at a time under way.
            let (requests, pending) = mpsc::channel(1);
            fetchers.push(requests);
            tasks.push(tokio::spawn(peer::recover(
                session,
                endpoint,
                fetcher,
                pending,
                sender.clone(),
                Arc::clone(&shared),
            )));
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
            Input::Frames(session, bunch) => {
                for parcel in bunch {
                    self.counters.duplicates += u64::from(!self.core.arrived(session, parcel, now));
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

/// Whether frames of `zone` come, where `zones` are taken.
fn takes(zones: &[ZoneName], zone: &str) -> bool {
    zones.is_empty() || zone.is_empty() || zones.iter().any(|taken| taken.as_str() == zone)
}

/// Subscriptions that take `zones` and the host frames; everything where `zones` is empty. The host frames come last: with the
/// first of them, all of the others are in force.
fn prefixes(zones: &[ZoneName]) -> Vec<String> {
    if zones.is_empty() {
        return vec![String::new()];
    }
    zones.iter().map(Topic::subscription).chain(["/".to_owned()]).collect()
}
