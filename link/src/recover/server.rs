//! The counter at which missed frames are asked for.
//!
//! One request at a time: receive, judge ([`Budget`]), look up, answer. What is no request is counted and ignored: who
//! sends it can make us do no more than read it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use zonescope_proto::recovery::decode_request;
use zonescope_proto::{Message, v1};

use super::answer::{answer, patience};
use super::budget::{Budget, Verdict};
use super::{Bounds, Kept};
use crate::LinkError;
use crate::transport::{Admission, Counter, Refusals, Refused};

/// What is no request is logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What happened at the counter since the start.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Requests answered.
    pub answered: AtomicU64,
    /// Requests answered with a plea for patience, or not at all, since the client was over its bounds.
    pub refused: AtomicU64,
    /// Messages that were no requests.
    pub bad: AtomicU64,
    /// Bytes of answers.
    pub bytes: AtomicU64,
}

/// Serves recovery in a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    tallies: Arc<Tallies>,
    refusals: Arc<Refusals>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Listens on `endpoint`, for whom `admission` lets in.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(
        endpoint: &str,
        admission: &Admission,
        kept: Arc<Kept>,
        bounds: Bounds,
    ) -> Result<Self, LinkError> {
        let counter = Counter::bind(endpoint, admission).await?;
        let endpoint = counter.endpoint().to_owned();
        let (tallies, refusals) = (Arc::new(Tallies::default()), counter.refusals());
        let clerk = Clerk {
            counter,
            kept,
            budget: Budget::new(bounds, Duration::ZERO),
            tallies: Arc::clone(&tallies),
            started: Instant::now(),
            complained: None,
        };
        Ok(Server { endpoint, tallies, refusals, task: tokio::spawn(clerk.run()) })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What happened.
    pub fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    /// What it turned away.
    pub fn refused(&self) -> Refused {
        self.refusals.counts()
    }
}

struct Clerk {
    counter: Counter,
    kept: Arc<Kept>,
    budget: Budget,
    tallies: Arc<Tallies>,
    started: Instant,
    complained: Option<Instant>,
}

impl Clerk {
    async fn run(mut self) {
        loop {
            let (client, bytes) = match self.counter.receive().await {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.complain("a message of several parts");
                    continue;
                }
                Err(error) => {
                    tracing::error!("recovery ends: {error}");
                    return;
                }
            };
            let verdict = self.budget.request(&client, self.started.elapsed());
            let reply = match (verdict, decode_request(&bytes)) {
                (_, Err(error)) => {
                    self.complain(&error.to_string());
                    continue;
                }
                (Verdict::Ignore, Ok(_)) => {
                    self.tallies.refused.fetch_add(1, Relaxed);
                    continue;
                }
                (Verdict::Wait(wait), Ok(request)) => {
                    self.tallies.refused.fetch_add(1, Relaxed);
                    patience(request.id, &self.kept, wait)
                }
                (Verdict::Answer(most), Ok(request)) => {
                    self.tallies.answered.fetch_add(1, Relaxed);
                    self.look_up(request, most).await
                }
            };
            self.send(client, &reply).await;
        }
    }

    /// Looks up where waiting for a disk harms nobody else.
    async fn look_up(&self, request: v1::RecoveryRequest, most: usize) -> v1::RecoveryReply {
        let kept = Arc::clone(&self.kept);
        if kept.spool().is_none() {
            return answer(&request, &kept, most);
        }
        let id = request.id;
        let answered = tokio::task::spawn_blocking(move || answer(&request, &kept, most)).await;
        answered.unwrap_or_else(|_| patience(id, &self.kept, Duration::from_secs(1)))
    }

    async fn send(&mut self, client: Bytes, reply: &v1::RecoveryReply) {
        let bytes = reply.encode_to_vec();
        self.tallies.bytes.fetch_add(bytes.len() as u64, Relaxed);
        let bytes = self.budget.answer(&client, bytes);
        self.counter.send(client, bytes).await;
    }

    /// Counts what is no request, and says so once a minute.
    fn complain(&mut self, reason: &str) {
        let bad = self.tallies.bad.fetch_add(1, Relaxed) + 1;
        if self.complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::warn!(endpoint = self.counter.endpoint(), bad, "ignored what is no request: {reason}");
        }
    }
}
