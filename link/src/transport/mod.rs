//! The seam between us and ZeroMQ: bind, connect, subscribe, send, receive. Nothing else in the project knows
//! which library moves the bytes.
//!
//! Plain endpoints go through the crate `zeromq` (pure Rust, ZMTP 3.0). Some of its habits are worked around here:
//!  * a SUB socket reconnects by itself, but backs off to 30 s and does not say when it lost a peer in a way that
//!    a reader can wait for. Each [`Subscription`] therefore has one peer and ends with it; who holds it connects
//!    again;
//!  * the PUB side queues up to 100,000 messages for each subscriber and then drops the newest without a word: the
//!    subscriber finds the gap by sequence. It keeps the queue of a subscriber for as long as its connection
//!    lives, even if that takes nothing; so we listen ourselves, and tell the kernel to give such connections up
//!    ([`STUCK`]; Linux);
//!  * ROUTER and DEALER queue up to 100,000 messages as well: who sends counts what waits ([`crate::tally`]);
//!  * any peer can make it reserve any amount of memory, by a message that claims to be so long (zeromq 0.7.0,
//!    codec/zmq_codec.rs). Nothing on this side of the seam can prevent that.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zeromq::{
    DealerSocket, PubSocket, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, SubSocket, ZmqMessage,
};

use crate::LinkError;
use crate::keys::{Authorised, Pair, PublicKey};

/// A connection whose peer takes nothing for so long is ended, and what is queued for it is freed. Whoever was only
/// slow connects again, and recovers what it missed.
pub const STUCK: Duration = Duration::from_secs(60);

/// What every endpoint begins with.
const SCHEME: &str = "tcp://";

/// Whom an endpoint that is bound lets in.
#[derive(Debug, Clone, Default)]
pub enum Admission {
    /// Whoever reaches it, in plain.
    #[default]
    Open,
    /// By CURVE, whoever has one of these keys.
    Curve {
        /// Who we are.
        pair: Arc<Pair>,
        /// Who may come.
        authorised: Authorised,
    },
}

impl Admission {
    /// Whether it is encrypted.
    pub fn is_curve(&self) -> bool {
        matches!(self, Admission::Curve { .. })
    }
}

/// How an endpoint is spoken to that somebody else has bound.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// In plain.
    #[default]
    None,
    /// By CURVE, and never otherwise.
    Curve {
        /// Who we are.
        pair: Arc<Pair>,
        /// Who must be there.
        server: PublicKey,
    },
}

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
    pub async fn bind(endpoint: &str, admission: &Admission) -> Result<Self, LinkError> {
        refuse_curve(matches!(admission, Admission::Curve { .. }), endpoint)?;
        let mut socket = PubSocket::new();
        let events = socket.monitor();
        let endpoint = listen(&mut socket, endpoint).await?;
        Ok(Publication { socket, events, endpoint })
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
    pub async fn connect(endpoint: &str, prefixes: &[String], credentials: &Credentials) -> Result<Self, LinkError> {
        refuse_curve(matches!(credentials, Credentials::Curve { .. }), endpoint)?;
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

/// Who sent a request: a name that lives as long as its connection.
pub type ClientId = Bytes;

/// A ROUTER socket: takes requests of anybody, and answers each.
pub struct Counter {
    socket: RouterSocket,
    endpoint: String,
}

impl Counter {
    /// Listens on `endpoint`. Port 0 takes any free port: see [`Counter::endpoint`].
    ///
    /// # Errors
    /// Where the endpoint is none, or taken, or not ours to bind.
    pub async fn bind(endpoint: &str, admission: &Admission) -> Result<Self, LinkError> {
        refuse_curve(matches!(admission, Admission::Curve { .. }), endpoint)?;
        let mut socket = RouterSocket::new();
        let endpoint = listen(&mut socket, endpoint).await?;
        Ok(Counter { socket, endpoint })
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next request, and of whom; `None` for a message of any other shape than one part. Cancel-safe.
    ///
    /// # Errors
    /// Where the socket is closed.
    pub async fn receive(&mut self) -> Result<Option<(ClientId, Bytes)>, LinkError> {
        let message = self.socket.recv().await.map_err(|e| LinkError::Receive(e.to_string()))?;
        Ok(<[Bytes; 2]>::try_from(message.into_vec()).ok().map(|[client, request]| (client, request)))
    }

    /// Answers a client, if it is still there.
    pub async fn send(&mut self, client: ClientId, answer: Bytes) {
        let mut message = ZmqMessage::from(client);
        message.push_back(answer);
        if let Err(error) = self.socket.send(message).await {
            tracing::debug!("a client left before its answer: {error}");
        }
    }
}

/// A DEALER socket with one peer: sends requests, takes answers.
pub struct Inquiry {
    socket: DealerSocket,
    events: futures::channel::mpsc::Receiver<SocketEvent>,
    endpoint: String,
}

impl Inquiry {
    /// Connects to `endpoint`.
    ///
    /// # Errors
    /// Where it is none. While nobody answers it goes on trying, for at most half a minute.
    pub async fn connect(endpoint: &str, credentials: &Credentials) -> Result<Self, LinkError> {
        refuse_curve(matches!(credentials, Credentials::Curve { .. }), endpoint)?;
        check_endpoint(endpoint)?;
        let mut socket = DealerSocket::new();
        let events = socket.monitor();
        socket
            .connect(endpoint)
            .await
            .map_err(|e| LinkError::Connection { endpoint: endpoint.to_owned(), reason: e.to_string() })?;
        Ok(Inquiry { socket, events, endpoint: endpoint.to_owned() })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn send(&mut self, request: Bytes) -> Result<(), LinkError> {
        let gone = |reason: String| LinkError::Connection { endpoint: self.endpoint.clone(), reason };
        self.socket.send(ZmqMessage::from(request)).await.map_err(|e| gone(e.to_string()))
    }

    /// The next answer; `None` for a message of any other shape than one part.
    ///
    /// # Errors
    /// Where the peer is gone. Connect anew.
    pub async fn receive(&mut self) -> Result<Option<Bytes>, LinkError> {
        use futures::StreamExt;
        let gone = |reason: String| LinkError::Connection { endpoint: self.endpoint.clone(), reason };
        loop {
            tokio::select! {
                biased;
                message = self.socket.recv() => {
                    let message = message.map_err(|e| gone(e.to_string()))?;
                    return Ok(<[Bytes; 1]>::try_from(message.into_vec()).ok().map(|[answer]| answer));
                }
                event = self.events.next() => match event {
                    Some(SocketEvent::Disconnected(_)) | None => return Err(gone("the peer closed the connection".to_owned())),
                    Some(_) => {}
                },
            }
        }
    }
}

/// CURVE comes with the next commit; until then nothing that asks for it goes in plain.
fn refuse_curve(wanted: bool, endpoint: &str) -> Result<(), LinkError> {
    let refused = || LinkError::Bind { endpoint: endpoint.to_owned(), reason: "no CURVE yet".to_owned() };
    if wanted { Err(refused()) } else { Ok(()) }
}

/// Lets `socket` listen on `endpoint`; gives where it does.
async fn listen(socket: &mut impl Socket, endpoint: &str) -> Result<String, LinkError> {
    let (address, port) = address_and_port(endpoint)?;
    let failed = |reason: String| LinkError::Bind { endpoint: endpoint.to_owned(), reason };
    let host = address.trim_start_matches(SCHEME).trim_start_matches('[').trim_end_matches(']');
    let listener = TcpListener::bind((host, port)).map_err(|e| failed(e.to_string()))?;
    give_up_stuck(&listener).map_err(|e| failed(e.to_string()))?;
    socket.bind_listener(listener).await.map(|bound| bound.to_string()).map_err(|e| failed(e.to_string()))
}

/// Connections that are accepted inherit it (tcp(7), TCP_USER_TIMEOUT): data that the peer does not take, be it that it
/// is gone or that its window is closed, ends them.
#[cfg(target_os = "linux")]
fn give_up_stuck(listener: &TcpListener) -> std::io::Result<()> {
    let timeout_ms = u32::try_from(STUCK.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, timeout_ms)?)
}

/// illumos gives up a peer that is gone, and keeps one whose window is closed.
#[cfg(not(target_os = "linux"))]
fn give_up_stuck(_: &TcpListener) -> std::io::Result<()> {
    Ok(())
}

/// `tcp://ADDRESS:PORT`, and nothing else.
///
/// # Errors
/// Says what an endpoint looks like.
pub fn check_endpoint(endpoint: &str) -> Result<(), LinkError> {
    address_and_port(endpoint).map(drop)
}

/// Whether only this host can reach what is bound there.
pub fn is_loopback(endpoint: &str) -> bool {
    ["tcp://127.", "tcp://[::1]:", "tcp://localhost:"].iter().any(|start| endpoint.starts_with(start))
}

/// The two parts of an endpoint: `tcp://ADDRESS` and the port.
///
/// # Errors
/// Says what an endpoint looks like.
pub fn address_and_port(endpoint: &str) -> Result<(&str, u16), LinkError> {
    let wrong = || LinkError::Endpoint { endpoint: endpoint.to_owned() };
    let (address, port) = endpoint.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| wrong())?;
    if address.strip_prefix(SCHEME).is_some_and(|host| !host.is_empty()) { Ok((address, port)) } else { Err(wrong()) }
}
