//! DEALER.

use bytes::Bytes;
use futures::channel::mpsc;
use omq_proto::proto::SocketType;
use zeromq::{DealerSocket, Socket, SocketEvent, SocketSend, ZmqMessage};
use zonescope_proto::limits::MAX_REPLY_BYTES;

use super::wire::Wire;
use super::{Credentials, check_endpoint, dial, gone, hear};
use crate::LinkError;

/// A DEALER socket with one peer: sends requests, takes answers.
pub struct Inquiry {
    link: Link,
    endpoint: String,
}

enum Link {
    Plain { socket: DealerSocket, events: mpsc::Receiver<SocketEvent> },
    Curve(Box<Wire>),
}

impl Inquiry {
    /// Connects to `endpoint`.
    ///
    /// # Errors
    /// Where it is none, or not who should be there. In plain it goes on trying while nobody answers, for at most half a
    /// minute.
    pub async fn connect(endpoint: &str, credentials: &Credentials) -> Result<Self, LinkError> {
        check_endpoint(endpoint)?;
        let link = match credentials {
            Credentials::None => {
                let mut socket = DealerSocket::new();
                let events = socket.monitor();
                socket.connect(endpoint).await.map_err(|e| gone(endpoint, e.to_string()))?;
                Link::Plain { socket, events }
            }
            Credentials::Curve { pair, server } => {
                Link::Curve(Box::new(dial(endpoint, pair, server, SocketType::Dealer, MAX_REPLY_BYTES).await?))
            }
        };
        Ok(Inquiry { link, endpoint: endpoint.to_owned() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn send(&mut self, request: Bytes) -> Result<(), LinkError> {
        let sent = match &mut self.link {
            Link::Plain { socket, .. } => socket.send(ZmqMessage::from(request)).await.map_err(|e| e.to_string()),
            Link::Curve(wire) => {
                let mut sent = wire.put([request]);
                while sent.is_ok() && wire.unsent() {
                    sent = wire.turn().await;
                }
                sent.map_err(|e| e.to_string())
            }
        };
        sent.map_err(|reason| gone(&self.endpoint, reason))
    }

    /// The next answer; `None` for a message of any other shape than one part. Cancel-safe.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, LinkError> {
        let parts = match &mut self.link {
            Link::Plain { socket, events } => hear(socket, events).await,
            Link::Curve(wire) => wire.message().await.map_err(|e| e.to_string()),
        };
        let parts = parts.map_err(|reason| gone(&self.endpoint, reason))?;
        Ok(<[Bytes; 1]>::try_from(parts).ok().map(|[answer]| answer))
    }
}
