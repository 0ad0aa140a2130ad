//! Subscribing: from any number of generators, checked, counted, one stream.
//!
//! One task an endpoint connects, receives and decodes; all put what they have into one bounded queue, out of which
//! [`Subscriber::recv`] takes frames in the order of their arrival. When the queue is full the tasks stop
//! reading, TCP stops the generator's socket, and the generator queues, then drops, for this subscriber
//! alone: a slow collector costs itself frames, and knows how many.
//!
//! A peer that sends nothing for a while is given up and connected to anew: with a network cut, TCP would wait
//! for many minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use zonescope_proto::{Topic, ZoneName, decode, v1};

use crate::LinkError;
use crate::backoff::Backoff;
use crate::sequence::{Outcome, Sequences};
use crate::transport::{Subscription, check_endpoint};

/// Frames that wait to be taken, all endpoints together. When full, reading pauses. At 1 KiB a frame some 10 MiB
/// with what decoding adds.
pub const QUEUE_FRAMES: usize = 4096;

/// A peer that is silent for this long, or for three of its intervals if that is longer, is connected to anew.
const SILENCE: Duration = Duration::from_secs(15);

/// Bad frames of one peer are logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What to subscribe to.
#[derive(Debug, Clone, Default)]
pub struct SubscriberOptions {
    /// Generators: `tcp://HOST:PORT` each.
    pub endpoints: Vec<String>,
    /// Zones to take; empty for all. Host frames always come.
    pub zones: Vec<ZoneName>,
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

/// What came and what did not, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Good frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Messages that were no frames, or broke a limit.
    pub bad: u64,
    /// Frames that had come before.
    pub duplicates: u64,
    /// Times that frames were missing.
    pub gaps: u64,
    /// How many were missing.
    pub missing: u64,
    /// Connections made.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Shared {
    bad: AtomicU64,
    connections: AtomicU64,
}

/// Receives frames. Dropping it ends its connections.
#[derive(Debug)]
pub struct Subscriber {
    queue: mpsc::Receiver<Received>,
    sequences: Sequences,
    counters: Counters,
    shared: Arc<Shared>,
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
        let tasks = options
            .endpoints
            .into_iter()
            .map(|endpoint| {
                let peer = Peer {
                    endpoint: endpoint.into(),
                    prefixes: prefixes.clone(),
                    queue: sender.clone(),
                    shared: Arc::clone(&shared),
                    complained: None,
                    silence: SILENCE,
                };
                tokio::spawn(peer.run())
            })
            .collect();
        Ok(Subscriber { queue, sequences: Sequences::default(), counters: Counters::default(), shared, tasks })
    }

    /// The next frame, host frames among them. Frames that came before are left out. Cancel-safe.
    pub async fn recv(&mut self) -> Received {
        loop {
            match self.queue.recv().await {
                Some(received) if self.count(&received) => return received,
                Some(_) => {}
                // Tasks run as long as we live: without endpoints there is nothing to wait for, ever.
                None => std::future::pending().await,
            }
        }
    }

    /// False for a frame that came before.
    fn count(&mut self, received: &Received) -> bool {
        let header = received.header();
        let missing = match self.sequences.observe(&received.topic, header.epoch, header.sequence) {
            Outcome::Next => 0,
            Outcome::Gap(missing) | Outcome::NewEpoch(missing) => missing,
            Outcome::Duplicate | Outcome::Stale => {
                self.counters.duplicates += 1;
                return false;
            }
        };
        self.counters.frames += 1;
        self.counters.bytes += received.bytes.len() as u64;
        self.missing(&received.topic, missing);
        for announced in &received.frame.announcement {
            if let Ok(topic) = Topic::new(&announced.zone, &header.host_id) {
                let missing = self.sequences.announced(&topic, header.epoch, announced.sequence);
                self.missing(&topic, missing);
            }
        }
        true
    }

    fn missing(&mut self, topic: &Topic, missing: u64) {
        if missing > 0 {
            self.counters.gaps += 1;
            self.counters.missing += missing;
            tracing::debug!(%topic, missing, "frames are missing");
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
}

/// Subscriptions that take `zones` and the host frames; everything where `zones` is empty.
fn prefixes(zones: &[ZoneName]) -> Vec<String> {
    if zones.is_empty() {
        return vec![String::new()];
    }
    zones.iter().map(Topic::subscription).chain(["/".to_owned()]).collect()
}

/// One generator, as its task sees it.
struct Peer {
    endpoint: Arc<str>,
    prefixes: Vec<String>,
    queue: mpsc::Sender<Received>,
    shared: Arc<Shared>,
    complained: Option<Instant>,
    silence: Duration,
}

impl Peer {
    async fn run(mut self) {
        let mut backoff = Backoff::connect();
        let mut said = false;
        loop {
            match Subscription::connect(&self.endpoint, &self.prefixes).await {
                Ok(subscription) => {
                    tracing::info!(endpoint = %self.endpoint, "connected");
                    self.shared.connections.fetch_add(1, Relaxed);
                    backoff.reset();
                    said = false;
                    let why = self.receive(subscription).await;
                    if self.queue.is_closed() {
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
                Ok(received) => {
                    let interval = Duration::from_millis(u64::from(received.header().interval_ms));
                    self.silence = SILENCE.max(interval * 3);
                    if self.queue.send(received).await.is_err() {
                        return "nobody listens any more".to_owned();
                    }
                }
                Err(reason) => self.complain(&reason),
            }
        }
    }

    fn check(&self, topic: &[u8], bytes: Bytes) -> Result<Received, String> {
        let topic = Topic::parse(topic).ok_or("its topic is not ZONE/HOST")?;
        let frame = decode(&bytes).map_err(|e| e.to_string())?;
        let header = frame.header.as_ref().ok_or("no header")?;
        let zone = header.zone.as_ref().map_or("", |z| z.name.as_str());
        if topic.zone != zone || topic.host_id != header.host_id {
            return Err(format!("its topic {topic} is not its header's {zone}/{}", header.host_id));
        }
        Ok(Received { endpoint: Arc::clone(&self.endpoint), topic, frame, bytes })
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
