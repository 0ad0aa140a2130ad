//! SUB.

use bytes::Bytes;
use futures::channel::mpsc;
use omq_proto::proto::SocketType;
use zeromq::{Socket, SocketEvent, SubSocket};
use zonescope_proto::limits::{MAX_FRAME_BYTES, MAX_TOPIC_BYTES};

use super::wire::Wire;
use super::{Credentials, check_endpoint, dial, gone, hear};
use crate::LinkError;

/// A SUB socket with one peer.
pub struct Subscription {
    link: Link,
    endpoint: String,
}

enum Link {
    Plain { socket: SubSocket, events: mpsc::Receiver<SocketEvent> },
    Curve(Box<Wire>),
}

impl Subscription {
    /// Connects to `endpoint` and subscribes to every prefix in `prefixes`.
    ///
    /// # Errors
    /// Where nobody answers, or not who should.
    pub async fn connect(endpoint: &str, prefixes: &[String], credentials: &Credentials) -> Result<Self, LinkError> {
        check_endpoint(endpoint)?;
        let link = match credentials {
            Credentials::None => plain(endpoint, prefixes).await.map_err(|e| gone(endpoint, e.to_string()))?,
            Credentials::Curve { pair, server } => {
                let largest = MAX_FRAME_BYTES + MAX_TOPIC_BYTES;
                let mut wire = dial(endpoint, pair, server, SocketType::Sub, largest).await?;
                for prefix in prefixes {
                    wire.subscribe(prefix.as_bytes()).map_err(|e| gone(endpoint, e.to_string()))?;
                }
                Link::Curve(Box::new(wire))
            }
        };
        Ok(Subscription { link, endpoint: endpoint.to_owned() })
    }

    /// The next message: its topic and its frame; `None` for a message of any other shape. Cancel-safe.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn receive(&mut self) -> Result<Option<(Bytes, Bytes)>, LinkError> {
        let parts = match &mut self.link {
            Link::Plain { socket, events } => hear(socket, events).await,
            Link::Curve(wire) => wire.message().await.map_err(|e| e.to_string()),
        };
        let parts = parts.map_err(|reason| gone(&self.endpoint, reason))?;
        Ok(<[Bytes; 2]>::try_from(parts).ok().map(|[topic, frame]| (topic, frame)))
    }
}

/// A SUB socket of the crate `zeromq`. It reconnects by itself, but backs off to 30 s and does not say when it lost its peer in
/// a way that a reader can wait for: therefore the events.
async fn plain(endpoint: &str, prefixes: &[String]) -> Result<Link, zeromq::ZmqError> {
    let mut socket = SubSocket::new();
    let events = socket.monitor();
    for prefix in prefixes {
        socket.subscribe(prefix).await?;
    }
    socket.connect(endpoint).await?;
    Ok(Link::Plain { socket, events })
}
