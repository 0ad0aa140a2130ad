//! One generator: a task that receives what it publishes, another that asks it for what was missed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::mpsc;
use zonescope_proto::v1;

use super::parcel::Parcel;
use super::{BUNCH, COMPLAIN_EVERY};
use crate::backoff::Backoff;
use crate::order::{Answer, Fetch, Item, SessionId};
use crate::recover::fetch::Fetcher;
use crate::transport::{Credentials, Subscription};

/// A peer that is silent for this long, or for three of its intervals if that is longer, is connected to anew.
const SILENCE: Duration = Duration::from_secs(15);

/// What the tasks of all peers count.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) bad: AtomicU64,
    pub(super) connections: AtomicU64,
}

/// What the tasks tell.
#[derive(Debug)]
pub(super) enum Input {
    Connected(SessionId),
    Lost(SessionId),
    Frames(SessionId, Vec<Parcel>),
    Answered(SessionId, u64, Answer<Parcel>),
    Failed(SessionId, u64),
}

/// One generator, as its task sees it.
pub(super) struct Peer {
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
    /// A peer that is not yet connected to.
    pub(super) fn new(
        session: SessionId,
        endpoint: Arc<str>,
        credentials: Credentials,
        prefixes: Vec<String>,
        queue: mpsc::Sender<Input>,
        shared: Arc<Shared>,
    ) -> Self {
        Peer { session, endpoint, credentials, prefixes, queue, shared, complained: None, silence: SILENCE }
    }

    /// Connects, receives, and connects again, until nobody listens.
    pub(super) async fn run(mut self) {
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
            let Ok(mut message) = tokio::time::timeout(self.silence, subscription.receive()).await else {
                return format!("silent for {} s", self.silence.as_secs());
            };
            let mut bunch = Vec::new();
            let ended = loop {
                match message {
                    Ok(message) => bunch.extend(self.check(message)),
                    Err(error) => break Some(error.to_string()),
                }
                // Whoever polls next polls anew: nothing is lost by asking only once.
                let more = if bunch.len() < BUNCH { subscription.receive().now_or_never() } else { None };
                let Some(more) = more else { break None };
                message = more;
            };
            if !bunch.is_empty() && self.queue.send(Input::Frames(self.session, bunch)).await.is_err() {
                return "nobody listens any more".to_owned();
            }
            if let Some(why) = ended {
                return why;
            }
        }
    }

    fn check(&mut self, message: Option<(Bytes, Bytes)>) -> Option<Parcel> {
        let message = message.ok_or_else(|| "not [topic, frame]".to_owned());
        match message.and_then(|(topic, frame)| Parcel::new(&self.endpoint, Some(&topic), frame, false)) {
            Ok(parcel) => {
                self.silence = SILENCE.max(parcel.interval() * 3);
                Some(parcel)
            }
            Err(reason) => {
                self.complain(&reason);
                None
            }
        }
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

/// Asks one generator for what was missed of it.
pub(super) async fn recover(
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
