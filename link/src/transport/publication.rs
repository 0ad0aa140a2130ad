//! PUB.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use omq_proto::proto::SocketType;
use zonescope_proto::limits::MAX_SUBSCRIPTION_BYTES;

use super::door::{Desk, Door};
use super::{Admission, Refusals};
use crate::LinkError;

/// A PUB socket.
#[derive(Debug)]
pub struct Publication {
    door: Door,
}

impl Publication {
    /// Listens on `endpoint`, for whom `admission` lets in. Port 0 takes any free port: see [`Publication::endpoint`].
    ///
    /// # Errors
    /// Where the endpoint is none, or taken, or not ours to bind.
    pub async fn bind(endpoint: &str, admission: &Admission) -> Result<Self, LinkError> {
        let door = Door::open(endpoint, admission, SocketType::Pub, MAX_SUBSCRIPTION_BYTES, Desk::Subscriptions)?;
        Ok(Publication { door })
    }

    /// Waits for somebody to be let in. What they subscribe to arrives a moment later.
    pub async fn subscriber(&mut self) {
        self.door.outboxes.opened().await;
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.door.endpoint
    }

    /// What it turned away.
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.door.refusals)
    }

    /// Sends `[topic, frame]` to whoever subscribes to it now. Never waits for a subscriber.
    ///
    /// # Errors
    /// Where the socket is closed.
    pub async fn send(&mut self, topic: Bytes, frame: Bytes) -> Result<(), LinkError> {
        if !self.door.is_open() {
            return Err(LinkError::Send("its task has ended: a defect of ours, please report it".to_owned()));
        }
        let left_out = self.door.outboxes.publish(&topic, &frame);
        self.door.refusals.left_out.fetch_add(left_out, Relaxed);
        // Who sends without pause leaves others their turn.
        tokio::task::coop::consume_budget().await;
        Ok(())
    }
}
