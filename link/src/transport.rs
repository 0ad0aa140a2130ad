//! The seam between us and ZeroMQ: bind, connect, subscribe, send, receive. Nothing else in the project knows
//! which library moves the bytes.
//!
//! Plain endpoints go through the crate `zeromq` (pure Rust, ZMTP 3.0). Two of its habits are worked around here:
//!  * a SUB socket reconnects by itself, but backs off to 30 s and does not say when it lost a peer in a way that
//!    a reader can wait for. Each [`Subscription`] therefore has one peer and ends with it; who holds it connects
//!    again;
//!  * the PUB side queues up to 100,000 messages for each subscriber and then drops the newest without a word: the
//!    subscriber finds the gap by sequence.

use bytes::Bytes;
use zeromq::{PubSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::LinkError;

/// A PUB socket.
pub struct Publication {
    socket: PubSocket,
    events: futures::channel::mpsc::Receiver<SocketEvent>,
    endpoint: String,
}

impl Publication {
    /// Listens on `endpoint`. Port 0 takes any free port: see [`Publication::endpoint`].
    ///
    /// # Errors
    /// Where the endpoint is none, or taken, or not ours to bind.
    pub async fn bind(endpoint: &str) -> Result<Self, LinkError> {
        check_endpoint(endpoint)?;
        let mut socket = PubSocket::new();
        let events = socket.monitor();
        let bound = socket
            .bind(endpoint)
            .await
            .map_err(|e| LinkError::Bind { endpoint: endpoint.to_owned(), reason: e.to_string() })?;
        Ok(Publication { socket, events, endpoint: bound.to_string() })
    }

    /// Waits for somebody to connect. What they subscribe to arrives a moment later.
    pub async fn subscriber(&mut self) {
        use futures::StreamExt;
        while let Some(event) = self.events.next().await {
            if matches!(event, SocketEvent::Accepted(..)) {
                return;
            }
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends `[topic, frame]` to whoever subscribes to it now. Never waits for a subscriber.
    ///
    /// # Errors
    /// Where the socket is closed.
    pub async fn send(&mut self, topic: Bytes, frame: Bytes) -> Result<(), LinkError> {
        let mut message = ZmqMessage::from(topic);
        message.push_back(frame);
        self.socket.send(message).await.map_err(|e| LinkError::Send(e.to_string()))
    }
}

/// A SUB socket with one peer.
pub struct Subscription {
    socket: SubSocket,
    events: futures::channel::mpsc::Receiver<SocketEvent>,
    endpoint: String,
}

impl Subscription {
    /// Connects to `endpoint` and subscribes to every prefix in `prefixes`.
    ///
    /// # Errors
    /// Where nobody answers.
    pub async fn connect(endpoint: &str, prefixes: &[String]) -> Result<Self, LinkError> {
        check_endpoint(endpoint)?;
        let failed =
            |e: zeromq::ZmqError| LinkError::Connection { endpoint: endpoint.to_owned(), reason: e.to_string() };
        let mut socket = SubSocket::new();
        let events = socket.monitor();
        for prefix in prefixes {
            socket.subscribe(prefix).await.map_err(failed)?;
        }
        socket.connect(endpoint).await.map_err(failed)?;
        Ok(Subscription { socket, events, endpoint: endpoint.to_owned() })
    }

    /// The next message: its topic and its frame; `None` for a message of any other shape.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn receive(&mut self) -> Result<Option<(Bytes, Bytes)>, LinkError> {
        use futures::StreamExt;
        let gone = |reason: String| LinkError::Connection { endpoint: self.endpoint.clone(), reason };
        loop {
            tokio::select! {
                biased;
                message = self.socket.recv() => {
                    let message = message.map_err(|e| gone(e.to_string()))?;
                    return Ok(match <[Bytes; 2]>::try_from(message.into_vec()) {
                        Ok([topic, frame]) => Some((topic, frame)),
                        Err(_) => None,
                    });
                }
                event = self.events.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return Err(gone("the peer closed the connection".to_owned())),
                    Some(_) => {}
                },
            }
        }
    }
}

/// `tcp://ADDRESS:PORT`, and nothing else.
///
/// # Errors
/// Says what an endpoint looks like.
pub fn check_endpoint(endpoint: &str) -> Result<(), LinkError> {
    let wrong = || LinkError::Endpoint { endpoint: endpoint.to_owned() };
    let (host, port) = endpoint.strip_prefix("tcp://").and_then(|rest| rest.rsplit_once(':')).ok_or_else(wrong)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(())
}
