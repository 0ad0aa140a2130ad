//! ROUTER.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use omq_proto::proto::SocketType;
use tokio::sync::mpsc;
use tokio::time::Instant;
use zonescope_proto::limits::{MAX_REQUEST_BYTES, MAX_WAITING_REQUESTS};

use super::door::{Desk, Door};
use super::{Admission, OVERHEAD_BYTES, Refusals};
use crate::LinkError;

/// Who sent a request: a name that lives as long as its connection.
pub type ClientId = Bytes;

/// A ROUTER socket: takes requests of whom it lets in, and answers each.
#[derive(Debug)]
pub struct Counter {
    door: Door,
    /// At most [`MAX_WAITING_REQUESTS`]; who asks when it is full is not read from, and waits its turn.
    requests: mpsc::Receiver<(u64, Vec<Bytes>)>,
}

impl Counter {
    /// Listens on `endpoint`, for whom `admission` lets in. Port 0 takes any free port: see [`Counter::endpoint`].
    ///
    /// # Errors
    /// Where the endpoint is none, or taken, or not ours to bind.
    pub async fn bind(endpoint: &str, admission: &Admission) -> Result<Self, LinkError> {
        let (sender, requests) = mpsc::channel(MAX_WAITING_REQUESTS);
        let largest = MAX_REQUEST_BYTES + OVERHEAD_BYTES;
        let door = Door::open(endpoint, admission, SocketType::Router, largest, Desk::Requests(sender))?;
        Ok(Counter { door, requests })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.door.endpoint
    }

    /// What it turned away.
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.door.refusals)
    }

    /// The next request, and of whom; `None` for a message of any other shape than one part. Cancel-safe.
    ///
    /// # Errors
    /// Where the socket is closed.
    pub async fn receive(&mut self) -> Result<Option<(ClientId, Bytes)>, LinkError> {
        let closed = || LinkError::Receive("the socket is closed".to_owned());
        let (connection, parts) = self.requests.recv().await.ok_or_else(closed)?;
        let client = Bytes::copy_from_slice(&connection.to_be_bytes());
        Ok(<[Bytes; 1]>::try_from(parts).ok().map(|[request]| (client, request)))
    }

    /// Answers a client, if it is still there.
    pub async fn send(&mut self, client: ClientId, answer: Bytes) {
        let connection = client.as_ref().try_into().map(u64::from_be_bytes).ok();
        match connection.and_then(|connection| self.door.outboxes.of(connection)) {
            None => tracing::debug!("a client left before its answer"),
            Some(outbox) => {
                let left_out = !outbox.answer(answer, Instant::now());
                self.door.refusals.left_out.fetch_add(u64::from(left_out), Relaxed);
            }
        }
    }
}
