//! The seam between us and ZeroMQ: bind, connect, subscribe, send, receive. Nothing else in the project knows
//! which library moves the bytes, or what CURVE is made of.
//!
//! # Who does what
//! | | in plain | by CURVE |
//! |---|---|---|
//! | [`Publication`], [`Counter`]: bind | omq-proto's codec, our sockets | the same |
//! | [`Subscription`], [`Inquiry`]: connect | crate `zeromq` | omq-proto's codec, our sockets |
//!
//! Whoever binds is reached by strangers. The crate `zeromq` bounds nothing there (0.7.0 reserves what a peer says that it
//! will send), and a whole ZeroMQ library accepts its connections itself, and counts its queues in messages. omq-proto is the
//! protocol and its cryptography without any I/O; the listening, the limits and the queues are here: `door` lets in, `wire`
//! speaks, `outbox` waits. ARCHITECTURE.md says what was compared.
//!
//! # What can be relied on
//!  * A [`Subscription`] or [`Inquiry`] has one peer and ends with it; who holds it connects again.
//!  * Sending never waits for a peer. What waits for one is bounded, and newer messages are left out; a peer that takes
//!    nothing for [`STUCK`](zonescope_proto::limits::STUCK) is ended, and what waits for it is freed.
//!  * What a peer that nobody knows makes us keep is bounded; so is what one makes us keep that is let in. All
//!    numbers: [`zonescope_proto::limits`]. What is turned away is counted ([`Refusals`]), and logged once a minute.
//!  * With CURVE nothing is sent to, or heard from, a peer without an authorised key; a connecting side speaks to the key that
//!    it expects, or not at all. There is no falling back to plain.
//!  * When a key is taken away ([`Authorised::replace`]) its connections end at once, and no other.

mod counter;
mod door;
mod hall;
mod inquiry;
mod outbox;
mod publication;
mod refusals;
mod subscription;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use omq_proto::MechanismSetup;
use omq_proto::proto::SocketType;
use omq_proto::proto::connection::{ConnectionConfig, Role};
use tokio::net::{TcpListener, TcpStream};
use zeromq::{SocketEvent, SocketRecv};
use zonescope_proto::limits::HANDSHAKE_TIME;

pub use counter::{ClientId, Counter};
pub use inquiry::Inquiry;
pub use publication::Publication;
pub use refusals::{Refusals, Refused};
pub use subscription::Subscription;

use crate::LinkError;
use crate::keys::{Authorised, Pair, PublicKey};
use wire::Wire;

/// What every endpoint begins with.
const SCHEME: &str = "tcp://";

/// What ZeroMQ and its codec add to a message of ours, in bytes, with room to spare.
const OVERHEAD_BYTES: usize = 512;

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

/// An endpoint that somebody else has bound, and how it is spoken to: publisher and recovery alike.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `tcp://HOST:PORT`.
    pub address: String,
    /// How it is spoken to.
    pub credentials: Credentials,
}

impl Endpoint {
    /// One that is spoken to in plain.
    pub fn plain(address: impl Into<String>) -> Self {
        Endpoint { address: address.into(), credentials: Credentials::None }
    }
}

/// Connects to `endpoint`, and makes sure that `server` is there.
async fn dial(
    endpoint: &str,
    pair: &Pair,
    server: &PublicKey,
    socket_type: SocketType,
    largest: usize,
) -> Result<Wire, LinkError> {
    let failed = |reason: String| gone(endpoint, reason);
    let (address, port) = address_and_port(endpoint)?;
    // The system would try for minutes, less and less often.
    let connected = tokio::time::timeout(HANDSHAKE_TIME, TcpStream::connect((host(address), port))).await;
    let stream = connected.map_err(|_| failed("nobody answers".to_owned()))?.map_err(|e| failed(e.to_string()))?;
    stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
    let mechanism = MechanismSetup::CurveClient { our_keypair: pair.for_codec(), server_public: server.for_codec() };
    let config = ConnectionConfig::new(Role::Client, socket_type)
        .max_message_size(largest + OVERHEAD_BYTES)
        .mechanism(mechanism);
    let mut wire = Wire::new(stream, config, None);
    // A publisher that does not know our key, or has another one than we expect, or is plain, just hangs up.
    wire.handshake().await.map_err(|e| {
        failed(format!("no encrypted connection: {e}; is our key authorised there, and is its key the one we have?"))
    })?;
    Ok(wire)
}

/// The parts of the next message of a socket of the crate `zeromq` with one peer; an error where that is gone. Cancel-safe.
async fn hear(socket: &mut impl SocketRecv, events: &mut mpsc::Receiver<SocketEvent>) -> Result<Vec<Bytes>, String> {
    loop {
        tokio::select! {
            biased;
            message = socket.recv() => return message.map(|message| message.into_vec()).map_err(|e| e.to_string()),
            event = events.next() => match event {
                Some(SocketEvent::Disconnected(_)) | None => return Err("the peer closed the connection".to_owned()),
                Some(_) => {}
            },
        }
    }
}

fn gone(endpoint: &str, reason: String) -> LinkError {
    LinkError::Connection { endpoint: endpoint.to_owned(), reason }
}

/// Listens on `endpoint`; says where that is.
fn listen(endpoint: &str) -> Result<(TcpListener, String), LinkError> {
    let (address, port) = address_and_port(endpoint)?;
    let bind = || {
        let listener = std::net::TcpListener::bind((host(address), port))?;
        give_up_stuck(&listener)?;
        listener.set_nonblocking(true)?;
        let bound = format!("{SCHEME}{}", listener.local_addr()?);
        Ok::<_, std::io::Error>((TcpListener::from_std(listener)?, bound))
    };
    bind().map_err(|e| LinkError::Bind { endpoint: endpoint.to_owned(), reason: e.to_string() })
}

/// Connections that are accepted inherit it (tcp(7), TCP_USER_TIMEOUT): one whose peer is gone ends in that time, also where
/// nothing waits for it.
#[cfg(target_os = "linux")]
fn give_up_stuck(listener: &std::net::TcpListener) -> std::io::Result<()> {
    let timeout_ms = u32::try_from(zonescope_proto::limits::STUCK.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_socket_keepalive(listener, true)?;
    Ok(rustix::net::sockopt::set_tcp_user_timeout(listener, timeout_ms)?)
}

/// illumos finds out in two hours (tcp_keepalive_interval); what waits for such a peer is given up as anywhere.
#[cfg(not(target_os = "linux"))]
fn give_up_stuck(listener: &std::net::TcpListener) -> std::io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_keepalive(listener, true)?)
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

/// For who knows no scheme and no brackets.
fn host(address: &str) -> &str {
    address.trim_start_matches(SCHEME).trim_start_matches('[').trim_end_matches(']')
}
