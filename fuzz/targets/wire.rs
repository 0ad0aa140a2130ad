//! Any bytes from whoever comes to a port, in pieces of any length: a peer that says what ZMTP lets it say, or the end of its
//! connection. The codec is fed as `link/src/transport/wire.rs` feeds it, and what it keeps is held to the limits of the contract.
//!
//! The first byte of an input says to whom it comes, in plain or by CURVE, and how long the pieces are.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use omq_proto::proto::SocketType;
use omq_proto::proto::connection::{Connection, ConnectionConfig, Event, Role};
use omq_proto::{CurveKeypair, CurvePublicKey, CurveSecretKey, CurveServerOptions, Error, MechanismSetup};
use zonescope_fuzz::held_bytes;
use zonescope_proto::limits::{
    HANDSHAKE_OVERHEAD_BYTES, MAX_HANDSHAKE_BYTES, MAX_REQUEST_BYTES, MAX_SUBSCRIPTION_BYTES,
};

/// A key pair that is none: whose secret it is does not matter, since no input has one that fits.
fn pair() -> CurveKeypair {
    CurveKeypair { public: CurvePublicKey::from_bytes([9; 32]), secret: CurveSecretKey::from_bytes([1; 32]) }
}

struct Peer {
    codec: Connection,
    staged: BytesMut,
    is_known: bool,
}

impl Peer {
    fn hear(&mut self, piece: &[u8]) -> Result<(), Error> {
        if self.codec.has_pending_input() && !self.codec.input_blocked_on_output() {
            self.codec.resume_input()?;
        }
        self.staged.extend_from_slice(piece);
        let missing = self
            .codec
            .peek_next_frame_payload_size()?
            .map_or(0, |frame| frame.payload_len - frame.buffered_payload_prefix);
        if self.staged.len() >= missing {
            self.codec.handle_input(std::mem::take(&mut self.staged).freeze())?;
        }
        let ready = self.codec.transmit_chunks_capped(64).iter().map(|chunk| chunk.len()).sum();
        self.codec.advance_transmit(ready);
        while let Some(event) = self.codec.poll_event() {
            self.is_known |= matches!(event, Event::HandshakeSucceeded { .. });
        }
        while let Some(message) = self.codec.poll_message() {
            let _: Vec<Bytes> = message.iter().collect();
        }
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, said)) = bytes.split_first() else { return };
    let (socket_type, largest) = match first & 1 {
        0 => (SocketType::Pub, MAX_SUBSCRIPTION_BYTES),
        _ => (SocketType::Router, MAX_REQUEST_BYTES),
    };
    let mechanism = match first & 2 {
        0 => MechanismSetup::Null,
        _ => MechanismSetup::CurveServer { our_keypair: pair(), options: CurveServerOptions::new() },
    };
    let before = held_bytes();
    let config = ConnectionConfig::new(Role::Server, socket_type).max_message_size(largest).mechanism(mechanism);
    let mut codec = Connection::new(config);
    codec.set_input_budget(true);
    let mut peer = Peer { codec, staged: BytesMut::new(), is_known: false };
    let mut heard = 0;
    for piece in said.chunks(1 + usize::from(first >> 2) * 16) {
        heard += piece.len();
        if !peer.is_known && heard > MAX_HANDSHAKE_BYTES {
            return;
        }
        if peer.hear(piece).is_err() {
            return;
        }
        let most = if peer.is_known { 2 * largest } else { MAX_HANDSHAKE_BYTES } + HANDSHAKE_OVERHEAD_BYTES;
        let kept = held_bytes().saturating_sub(before);
        assert!(kept <= most, "{kept} bytes are kept for a peer that sent {heard}");
    }
});
