//! The door of an endpoint that we bind: who may come in, how many, how fast, and how long they may take to say who they are.
//!
//! A connection is first unknown: it may say [`MAX_HANDSHAKE_BYTES`] within [`HANDSHAKE_TIME`], and there are
//! [`MAX_HANDSHAKES`] of them; when one more comes the oldest of its address, or of all, gives way. A crowd that says nothing
//! thus passes through, and whoever is honest is through before it is its turn. Then it is let in, or not: by its key if
//! there is CURVE, by the number of connections in any case. One whose key is taken away is ended at once, and so is one
//! that does not take what waits for it.
//!
//! [`HANDSHAKE_TIME`]: zonescope_proto::limits::HANDSHAKE_TIME
//! [`MAX_HANDSHAKES`]: zonescope_proto::limits::MAX_HANDSHAKES
//! [`MAX_HANDSHAKE_BYTES`]: zonescope_proto::limits::MAX_HANDSHAKE_BYTES

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use omq_proto::proto::SocketType;
use omq_proto::proto::connection::{ConnectionConfig, Role};
use omq_proto::{Authenticator, CurveServerOptions, MechanismSetup, PeerPublicKey};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use zonescope_proto::limits::{MAX_ACCEPTS_PER_S, MAX_INPUT_BYTES_PER_S, STUCK};

use super::hall::{Hall, network};
use super::outbox::{Open, Outbox, Outboxes};
use super::refusals::{Ended, Refusals};
use super::wire::{Incoming, Wire};
use super::{Admission, listen};
use crate::LinkError;
use crate::keys::PublicKey;

/// When the system has no file for one more connection, so long until the next try.
const NO_FILES: Duration = Duration::from_millis(100);

/// What comes into an empty outbox waits so long for more to come: a system call costs more than a frame, and wakes the peer.
const GATHER: Duration = Duration::from_millis(1);

/// What was turned away is logged once in this time, if there was anything.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// What peers come for.
#[derive(Debug, Clone)]
pub(super) enum Desk {
    /// To subscribe.
    Subscriptions,
    /// To ask. Requests go here, with the number of their connection.
    Requests(mpsc::Sender<(u64, Vec<Bytes>)>),
}

impl Desk {
    /// Hears what a peer says; `false` where it wants too much.
    async fn hear(&self, connection: u64, outbox: &Outbox, said: Incoming) -> bool {
        match (self, said) {
            (Desk::Subscriptions, Incoming::Subscribe(prefix)) => return outbox.subscribe(&prefix),
            (Desk::Subscriptions, Incoming::Cancel(prefix)) => outbox.cancel(&prefix),
            // Before ZMTP 3.1 a subscription is a message: 1 or 0, and the prefix.
            (Desk::Subscriptions, Incoming::Message(parts)) => {
                match parts.first().and_then(|part| part.split_first()) {
                    Some((1, prefix)) => return outbox.subscribe(prefix),
                    Some((0, prefix)) => outbox.cancel(prefix),
                    _ => {}
                }
            }
            // Nobody takes requests any more only while the endpoint closes.
            (Desk::Requests(requests), Incoming::Message(parts)) => drop(requests.send((connection, parts)).await),
            (Desk::Requests(_), Incoming::Subscribe(_) | Incoming::Cancel(_)) => {}
        }
        true
    }
}

/// An endpoint that is bound. Dropping it closes all its connections.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) endpoint: String,
    pub(super) outboxes: Outboxes,
    pub(super) refusals: Arc<Refusals>,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// Listens on `endpoint`, for whom `admission` lets in. A message of a peer may have `largest` bytes.
    pub(super) fn open(
        endpoint: &str,
        admission: &Admission,
        socket_type: SocketType,
        largest: usize,
        desk: Desk,
    ) -> Result<Self, LinkError> {
        Self::open_for(STUCK, endpoint, admission, socket_type, largest, desk)
    }

    /// The same, with another patience than [`STUCK`].
    fn open_for(
        patience: Duration,
        endpoint: &str,
        admission: &Admission,
        socket_type: SocketType,
        largest: usize,
        desk: Desk,
    ) -> Result<Self, LinkError> {
        let (listener, endpoint) = listen(endpoint)?;
        let (outboxes, refusals) = (Outboxes::default(), Arc::new(Refusals::default()));
        let porter = Porter {
            endpoint: endpoint.clone(),
            config: config(admission, &refusals, socket_type, largest),
            authorised: match admission {
                Admission::Open => None,
                Admission::Curve { authorised, .. } => Some(authorised.changes()),
            },
            patience,
            desk,
            hall: Hall::default(),
            outboxes: outboxes.clone(),
            refusals: Arc::clone(&refusals),
        };
        Ok(Door { endpoint, outboxes, refusals, task: tokio::spawn(porter.run(listener)) })
    }

    /// Whether anybody can still come in: only a defect of ours ends that.
    pub(super) fn is_open(&self) -> bool {
        !self.task.is_finished()
    }
}

fn config(
    admission: &Admission,
    refusals: &Arc<Refusals>,
    socket_type: SocketType,
    largest: usize,
) -> ConnectionConfig {
    let mechanism = match admission {
        Admission::Open => MechanismSetup::Null,
        Admission::Curve { pair, authorised } => {
            let (authorised, refusals) = (authorised.clone(), Arc::clone(refusals));
            let known = move |key: [u8; 32]| {
                let known = authorised.name(&PublicKey::from_bytes(key)).is_some();
                refusals.keys.fetch_add(u64::from(!known), Relaxed);
                known
            };
            let mut options = CurveServerOptions::new();
            options.authenticator = Some(Authenticator::new(move |peer| known(peer.public_key)));
            MechanismSetup::CurveServer { our_keypair: pair.for_codec(), options }
        }
    };
    ConnectionConfig::new(Role::Server, socket_type).max_message_size(largest).mechanism(mechanism)
}

/// Who may come in, as it changes.
type Authorised = watch::Receiver<BTreeMap<PublicKey, String>>;

/// Stands at the door.
#[derive(Clone)]
struct Porter {
    endpoint: String,
    config: ConnectionConfig,
    authorised: Option<Authorised>,
    /// How long a peer may take nothing.
    patience: Duration,
    desk: Desk,
    hall: Hall,
    outboxes: Outboxes,
    refusals: Arc<Refusals>,
}

impl Porter {
    async fn run(self, listener: TcpListener) {
        let mut guests = JoinSet::new();
        let mut pace = interval(Duration::from_secs(1) / MAX_ACCEPTS_PER_S);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complain = interval(COMPLAIN_EVERY);
        let mut said = self.refusals.counts();
        for connection in 0.. {
            let accepted = loop {
                tokio::select! {
                    accepted = listener.accept() => break accepted,
                    Some(_) = guests.join_next() => {}
                    _ = complain.tick() => {
                        let counts = self.refusals.counts();
                        if counts != said {
                            said = counts;
                            tracing::warn!(endpoint = self.endpoint, "turned away since the start: {said}");
                        }
                    }
                }
            };
            match accepted {
                Ok((stream, from)) => {
                    guests.spawn(self.clone().admit(connection, stream, from.ip()));
                    pace.tick().await;
                }
                Err(error) => {
                    self.refusals.connections.fetch_add(1, Relaxed);
                    tracing::debug!(endpoint = self.endpoint, "cannot accept a connection: {error}");
                    tokio::time::sleep(NO_FILES).await;
                }
            }
        }
    }

    /// Serves a connection to its end, and counts what that was.
    async fn admit(self, connection: u64, stream: TcpStream, from: IpAddr) {
        if let Err(why) = self.visit(connection, stream, network(from)).await {
            self.refusals.count(&why);
            tracing::debug!(endpoint = self.endpoint, %from, "connection ended: {why}");
        }
    }

    async fn visit(&self, connection: u64, stream: TcpStream, from: IpAddr) -> Result<(), Ended> {
        stream.set_nodelay(true).map_err(|error| Ended::Peer(error.into()))?;
        // From here on, so that no change between handshake and service goes unseen.
        let mut authorised = self.authorised.clone();
        if let Some(authorised) = &mut authorised {
            authorised.mark_unchanged();
        }
        let mut wire = Wire::new(stream, self.config.clone(), Some(MAX_INPUT_BYTES_PER_S));
        let waiting = self.hall.wait(connection, from);
        let peer = tokio::select! {
            met = wire.handshake() => met.map_err(Ended::Unknown)?,
            () = waiting.gives_way.notified() => return Err(Ended::GaveWay),
        };
        drop(waiting);
        let _seat = self.hall.seat(from).ok_or(Ended::Full)?;
        let key = match peer.authentication.public_key {
            Some(PeerPublicKey::Curve(key)) => Some(PublicKey::from_bytes(key)),
            _ => None,
        };
        tokio::select! {
            served = self.serve(wire, connection, self.outboxes.open(connection)) => served,
            () = taken_away(authorised, key) => Err(Ended::Revoked),
        }
    }

    async fn serve(&self, mut wire: Wire, connection: u64, open: Open) -> Result<(), Ended> {
        let mut look = interval(self.patience / 10);
        let mut batch = Vec::new();
        loop {
            while let Some(said) = wire.incoming() {
                if !self.desk.hear(connection, &open.outbox, said).await {
                    self.refusals.subscriptions.fetch_add(1, Relaxed);
                }
            }
            while wire.room() && open.outbox.take(&mut batch) {
                for (topic, body) in batch.drain(..) {
                    wire.put(topic.into_iter().chain([body])).map_err(Ended::Peer)?;
                }
            }
            tokio::select! {
                turned = wire.turn() => turned.map_err(Ended::Peer)?,
                () = open.outbox.filled(), if wire.room() => tokio::time::sleep(GATHER).await,
                now = look.tick() => {
                    if wire.stalled(now).max(open.outbox.oldest(now)) >= self.patience {
                        return Err(Ended::Stuck);
                    }
                }
            }
        }
    }
}

/// Waits until `key` is let in no more.
async fn taken_away(authorised: Option<Authorised>, key: Option<PublicKey>) {
    if let (Some(mut authorised), Some(key)) = (authorised, key) {
        // An error: nobody can change it any more.
        if authorised.wait_for(|keys| !keys.contains_key(&key)).await.is_ok() {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    #[tokio::test]
    async fn a_peer_that_takes_nothing_is_given_up_and_what_waits_for_it_is_freed() {
        let socket_type = SocketType::Pub;
        let door = Door::open_for(
            Duration::from_secs(1),
            "tcp://127.0.0.1:0",
            &Admission::Open,
            socket_type,
            1024,
            Desk::Subscriptions,
        );
        let door = door.unwrap();
        let address = door.endpoint.trim_start_matches("tcp://");
        let mut peer = Wire::new(
            TcpStream::connect(address).await.unwrap(),
            ConnectionConfig::new(Role::Client, SocketType::Sub),
            None,
        );
        peer.handshake().await.unwrap();
        peer.subscribe(b"").unwrap();
        while peer.unsent() {
            peer.turn().await.unwrap();
        }
        // From here on it takes nothing. So much does not fit into the sockets' buffers.
        let tally = Tally::default();
        let frame = tally.count(vec![0; 1 << 20]);
        tokio::time::sleep(Duration::from_millis(300)).await;
        for _ in 0..100 {
            door.outboxes.publish(&Bytes::from_static(b"web1/h1"), &frame);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(frame);
        assert_eq!(tally.alive(), 1 << 20);
        tokio::time::timeout(Duration::from_secs(20), async {
            while tally.alive() > 0 {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .unwrap();
        assert_eq!(door.refusals.counts().stuck, 1);
    }
}
