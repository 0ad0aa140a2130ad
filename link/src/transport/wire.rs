//! One ZMTP connection: omq-proto's codec, which does no I/O, and a TCP stream.
//!
//! Whoever holds a [`Wire`] calls [`Wire::turn`] in a loop: it waits until bytes came in or went out, and nothing else
//! ever waits. What came in is taken with [`Wire::incoming`], what goes out is put in with [`Wire::put`] while there is
//! [`Wire::room`].
//!
//! Plain messages are copied, many into one buffer, since a copy costs less than a system call; CURVE writes what it
//! sealed. Each kind waits for the other to leave, so that frames never mix.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use omq_proto::message::Message;
use omq_proto::proto::command::{Command, PeerProperties};
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::Instant;
use zonescope_proto::limits::{HANDSHAKE_TIME, MAX_HANDSHAKE_BYTES};

/// Bytes that are made ready to leave at once. While more than these wait, nothing is put in.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

/// A message of more bytes is not copied.
const COPY_BYTES: usize = 16 * 1024;

/// Pieces that one system call writes. Linux and illumos take 1,024 (IOV_MAX).
const PIECES: usize = 64;

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The peer closed it, or the network did.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// What the peer sent is not ZMTP, too large, or not what we let in.
    #[error("{0}")]
    Protocol(#[from] omq_proto::Error),
    /// It did not say who it is.
    #[error("no handshake within {} s", HANDSHAKE_TIME.as_secs())]
    Late,
    /// It said more than any handshake needs.
    #[error("a handshake of more than {MAX_HANDSHAKE_BYTES} bytes")]
    Talkative,
}

/// What a peer sent.
#[derive(Debug)]
pub(super) enum Incoming {
    /// The parts of a message.
    Message(Vec<Bytes>),
    /// It wants topics that begin with this.
    Subscribe(Bytes),
    /// It wants them no more.
    Cancel(Bytes),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    codec: Connection,
    /// What came in of a message whose rest has not: the codec would keep each piece apart, at many times its size.
    staged: BytesMut,
    /// Plain messages on their way out: whole frames behind what has left.
    flat: BytesMut,
    arrived: VecDeque<Incoming>,
    /// When something was put in last.
    put: Instant,
    /// Bytes a second that are read, and at once; `None` for any.
    pace: Option<u32>,
    /// When what was read is paid for, at that pace.
    paid: Instant,
}

impl Wire {
    /// A connection from which so many bytes a second are read, and at once; `None` for any.
    pub(super) fn new(stream: TcpStream, config: ConnectionConfig, pace: Option<u32>) -> Self {
        let mut codec = Connection::new(config);
        codec.set_input_budget(true);
        let (staged, flat, arrived) = (BytesMut::new(), BytesMut::new(), VecDeque::new());
        let now = Instant::now();
        Wire { stream, codec, staged, flat, arrived, put: now, pace, paid: now }
    }

    /// Until the peer has shown who it is.
    pub(super) async fn handshake(&mut self) -> Result<Arc<PeerProperties>, WireError> {
        let met = tokio::time::timeout(HANDSHAKE_TIME, self.greet()).await.map_err(|_| WireError::Late);
        let met = met.and_then(|met| met);
        if met.is_err() {
            // What it is told is why; it may not be there any more to hear it.
            let _ = self.write();
        }
        met
    }

    async fn greet(&mut self) -> Result<Arc<PeerProperties>, WireError> {
        let mut left = MAX_HANDSHAKE_BYTES;
        loop {
            self.wait().await?;
            self.write()?;
            left -= self.read(left)?;
            match self.codec.poll_event() {
                Some(Event::HandshakeSucceeded { peer_properties, .. }) => {
                    self.sort();
                    return Ok(peer_properties);
                }
                _ if left == 0 => return Err(WireError::Talkative),
                _ => {}
            }
        }
    }

    /// Waits until something came in or went out. Cancel-safe.
    pub(super) async fn turn(&mut self) -> Result<(), WireError> {
        self.wait().await?;
        self.write()?;
        self.read(READ_BYTES)?;
        self.sort();
        Ok(())
    }

    /// What came in, in order.
    pub(super) fn incoming(&mut self) -> Option<Incoming> {
        self.arrived.pop_front()
    }

    /// The next message, for who expects nothing else. Cancel-safe.
    pub(super) async fn message(&mut self) -> Result<Vec<Bytes>, WireError> {
        loop {
            match self.incoming() {
                Some(Incoming::Message(parts)) => return Ok(parts),
                Some(Incoming::Subscribe(_) | Incoming::Cancel(_)) => {}
                None => self.turn().await?,
            }
        }
    }

    /// Whether more may be put in.
    pub(super) fn room(&self) -> bool {
        if self.codec.has_frame_transform() {
            self.codec.pending_transmit_size() < BATCH_BYTES
        } else {
            !self.codec.has_pending_transmit() && self.flat.len() < BATCH_BYTES
        }
    }

    /// Puts in a message. Only after the handshake.
    pub(super) fn put(&mut self, parts: impl IntoIterator<Item = Bytes>) -> Result<(), WireError> {
        self.put = Instant::now();
        let message = Message::multipart(parts);
        // What is in the codec leaves after what is in `flat`.
        let in_codec = self.codec.has_frame_transform() || self.codec.has_pending_transmit();
        if in_codec || message.byte_len() > COPY_BYTES {
            self.codec.send_message(&message)?;
        } else {
            self.codec.send_message_flat(&message, &mut self.flat);
        }
        Ok(())
    }

    /// Subscribes to topics that begin with `prefix`.
    pub(super) fn subscribe(&mut self, prefix: &[u8]) -> Result<(), WireError> {
        Ok(self.codec.send_command(&Command::Subscribe(Bytes::copy_from_slice(prefix)))?)
    }

    /// Something waits to leave.
    pub(super) fn unsent(&self) -> bool {
        !self.flat.is_empty() || self.codec.has_pending_transmit()
    }

    /// For how long what waits to leave has had no addition: none is made while it fills a batch.
    pub(super) fn stalled(&self, now: Instant) -> Duration {
        if self.unsent() { now.saturating_duration_since(self.put) } else { Duration::ZERO }
    }

    async fn wait(&self) -> io::Result<()> {
        // What was read and not yet understood needs no waiting.
        if self.codec.has_pending_input() && !self.codec.input_blocked_on_output() {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let Some(paid) = self.overdrawn() else {
            let interest = match (self.codec.accepts_input(), self.unsent()) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (true, false) => Interest::READABLE,
                (false, _) => Interest::WRITABLE,
            };
            return self.stream.ready(interest).await.map(drop);
        };
        tokio::select! {
            ready = self.stream.writable(), if self.unsent() => ready,
            () = tokio::time::sleep_until(paid) => Ok(()),
        }
    }

    /// Until when nothing is read, since more was than the pace allows.
    fn overdrawn(&self) -> Option<Instant> {
        let second = Duration::from_secs(1);
        self.pace.and_then(|_| self.paid.checked_sub(second)).filter(|paid| *paid > Instant::now())
    }

    fn pay(&mut self, bytes: usize) {
        if let Some(pace) = self.pace {
            self.paid = self.paid.max(Instant::now()) + Duration::from_secs_f64(bytes as f64 / f64::from(pace));
        }
    }

    /// Writes what waits to leave, as far as the peer takes it.
    fn write(&mut self) -> Result<(), WireError> {
        loop {
            let written = if !self.flat.is_empty() {
                self.stream.try_write(&self.flat)
            } else if self.codec.has_pending_transmit() {
                self.stream.try_write_vectored(&self.codec.transmit_chunks_capped(PIECES))
            } else {
                break;
            };
            match written {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(n) if self.flat.is_empty() => self.codec.advance_transmit(n),
                Ok(n) => self.flat.advance(n),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads at most so many bytes, if there are any; says how many.
    fn read(&mut self, most: usize) -> Result<usize, WireError> {
        if self.codec.has_pending_input() && !self.codec.input_blocked_on_output() {
            self.codec.resume_input()?;
        }
        if !self.codec.accepts_input() || self.overdrawn().is_some() {
            return Ok(0);
        }
        let mut buffer = [0; READ_BYTES];
        let buffer = &mut buffer[..most.min(READ_BYTES)];
        let read = match self.stream.try_read(buffer) {
            Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the peer closed the connection").into()),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        self.pay(read);
        self.staged.extend_from_slice(&buffer[..read]);
        let missing = self
            .codec
            .peek_next_frame_payload_size()?
            .map_or(0, |frame| frame.payload_len - frame.buffered_payload_prefix);
        if self.staged.len() >= missing {
            self.codec.handle_input(std::mem::take(&mut self.staged).freeze())?;
        }
        Ok(read)
    }

    /// Takes what the codec has understood.
    fn sort(&mut self) {
        while let Some(event) = self.codec.poll_event() {
            match event {
                Event::Command(Command::Subscribe(prefix)) => self.arrived.push_back(Incoming::Subscribe(prefix)),
                Event::Command(Command::Cancel(prefix)) => self.arrived.push_back(Incoming::Cancel(prefix)),
                // What else there is means nothing to the sockets that we have.
                Event::Command(_) | Event::HandshakeSucceeded { .. } | Event::Message(_) => {}
            }
        }
        while let Some(message) = self.codec.poll_message() {
            self.arrived.push_back(Incoming::Message(message.iter().collect()));
        }
    }
}
