//! Asking an endpoint whether a generator publishes there, and which.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::TcpStream;
use zonescope_proto::{Topic, decode, v1};

use crate::clock::Clock;
use crate::transport::{Credentials, Subscription, address_and_port};

/// Making a connection may take so long, and the greeting of ZeroMQ after it again.
const CONNECT: Duration = Duration::from_secs(3);

/// Subscribes to host frames alone: a small one each tick, of every generator.
const HOST_FRAMES: &str = "/";

/// A generator that publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Stable identity of its host.
    pub host_id: String,
    /// Name of its host.
    pub host: String,
    /// Version of the format that it speaks.
    pub version: u32,
    /// When it was started, ns since 1970 UTC.
    pub epoch: u64,
    /// Its clock when it said so, ns since 1970 UTC.
    pub time_ns: u64,
    /// Zones that it announces.
    pub zones: usize,
    /// From tick to tick, ms.
    pub interval_ms: u32,
    /// How long before it came here its frame says that it was: the difference of the clocks, and the way, ns.
    pub behind_ns: i64,
    /// Where it answers those who missed something; 0 for nowhere.
    pub recovery_port: u32,
}

/// Why nobody is known to publish there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// No connection.
    #[error("nobody answers: {0}")]
    Unreachable(String),
    /// A connection, and no greeting.
    #[error("somebody is there and does not speak ZeroMQ")]
    NotZeroMq,
    /// A greeting, and nothing after it.
    #[error("somebody is there and said nothing for {} s", .0.as_secs())]
    Nothing(Duration),
    /// Something else than frames.
    #[error("what it sends is no frame: {0}")]
    NoFrame(String),
}

/// Waits for one host frame at `endpoint`, for at most `patience` once it is connected.
///
/// # Errors
/// Why none came.
pub async fn ask(
    endpoint: &str,
    credentials: &Credentials,
    patience: Duration,
    clock: &dyn Clock,
) -> Result<Publisher, Silent> {
    let unreachable = |reason: String| Silent::Unreachable(reason);
    let (host, port) = host_and_port(endpoint).map_err(|error| unreachable(error.to_string()))?;
    // First without ZeroMQ, whose library goes on trying where nobody is.
    match tokio::time::timeout(CONNECT, TcpStream::connect((host, port))).await {
        Ok(connected) => connected.map(drop).map_err(|error| unreachable(error.to_string()))?,
        Err(_) => return Err(unreachable(format!("no answer within {} s", CONNECT.as_secs()))),
    }
    let prefixes = [HOST_FRAMES.to_owned()];
    let connected = tokio::time::timeout(CONNECT, Subscription::connect(endpoint, &prefixes, credentials)).await;
    let mut subscription = connected.map_err(|_| Silent::NotZeroMq)?.map_err(|error| unreachable(error.to_string()))?;
    let message = tokio::time::timeout(patience, subscription.receive()).await;
    let message = message.map_err(|_| Silent::Nothing(patience))?;
    let now_ns = clock.now_ns();
    let (topic, bytes) = message
        .map_err(|error| unreachable(error.to_string()))?
        .ok_or_else(|| Silent::NoFrame("not [topic, frame]".to_owned()))?;
    Topic::parse(&topic).ok_or_else(|| Silent::NoFrame("its topic is not ZONE/HOST".to_owned()))?;
    let frame = decode(&bytes).map_err(|error| Silent::NoFrame(error.to_string()))?;
    Ok(publisher(frame, now_ns))
}

/// For who knows no scheme and no brackets.
pub(super) fn host_and_port(endpoint: &str) -> std::io::Result<(&str, u16)> {
    let (address, port) = address_and_port(endpoint).map_err(|e| std::io::Error::new(ErrorKind::InvalidInput, e))?;
    Ok((address.trim_start_matches("tcp://").trim_start_matches('[').trim_end_matches(']'), port))
}

fn publisher(frame: v1::Frame, now_ns: u64) -> Publisher {
    // decode() takes no frame without one.
    let header = frame.header.unwrap_or_default();
    Publisher {
        host_id: header.host_id,
        host: header.host,
        version: header.version,
        epoch: header.epoch,
        time_ns: header.time,
        zones: frame.announcement.len(),
        interval_ms: header.interval_ms,
        behind_ns: i64::try_from(i128::from(now_ns) - i128::from(header.time)).unwrap_or(i64::MAX),
        recovery_port: frame.recovery_port,
    }
}
