//! Publishing: a [`Publisher`] has each frame numbered and encoded ([`Sealer`]), keeps it for those who will miss it, and sends
//! it wherever its zone is spoken of (an outlet each).

mod outlet;
mod sealer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use zonescope_proto::v1;

use crate::LinkError;
use crate::clock::Clock;
use crate::recover::{Bounds, Kept};
use crate::ring::{self, Ring};
use crate::scope::Scope;
use crate::spool::{self, Spool};
use crate::transport::{Admission, Refused};

use outlet::Outlet;
pub use outlet::ScopedOptions;
use sealer::Sealed;
pub use sealer::{FORGET_AFTER, Identity, Sealer};

/// How a publisher keeps what it publishes, and hands it out again.
#[derive(Debug, Clone)]
pub struct RecoveryOptions {
    /// Where to listen.
    pub bind: String,
    /// How much to keep in memory.
    pub ring: ring::Limits,
    /// Where to keep it on disk as well, and how much.
    pub spool: Option<(PathBuf, spool::Limits)>,
    /// How much to do for those who ask.
    pub bounds: Bounds,
}

/// Seals frames, keeps them, and sends them.
pub struct Publisher {
    sealer: Sealer,
    /// Speaks of everything.
    main: Outlet,
    /// Speak of some zones each.
    scoped: Vec<Outlet>,
    kept: Option<Arc<Kept>>,
    started: Instant,
    frames: u64,
    bytes: u64,
}

impl Publisher {
    /// Listens on `endpoint`, for whom `admission` lets in. What subscribers miss is lost, until [`Publisher::recover`] is called.
    ///
    /// # Errors
    /// Where it cannot be bound.
    pub async fn bind(endpoint: &str, admission: Admission, identity: Identity) -> Result<Self, LinkError> {
        let main = Outlet::bind(endpoint, admission, Scope::Everything).await?;
        let (sealer, started) = (Sealer::new(identity), Instant::now());
        Ok(Publisher { sealer, main, scoped: Vec::new(), kept: None, started, frames: 0, bytes: 0 })
    }

    /// From now on keeps frames, and serves them to whoever missed some and would be let in to subscribe. Before the first
    /// frame: with a spool, the epoch may be set anew, so that it is later than every earlier one even if the clock was set
    /// back.
    ///
    /// # Errors
    /// Where the address cannot be bound or the spool cannot be used.
    pub async fn recover(&mut self, options: RecoveryOptions, clock: Arc<dyn Clock>) -> Result<(), LinkError> {
        let identity = &mut self.sealer.identity;
        let (mut spool, mut kept_epochs) = (None, Vec::new());
        if let Some((directory, limits)) = options.spool {
            let mut opened = Spool::open(&directory, limits, &identity.host_id, clock)?;
            kept_epochs = opened.epochs();
            let earliest = kept_epochs.last().map_or(0, |last| last.saturating_add(1));
            identity.epoch = identity.epoch.max(earliest);
            opened.start(identity.epoch)?;
            spool = Some(opened);
        }
        let kept = Arc::new(Kept::new(identity.host_id.clone(), identity.epoch, Ring::new(options.ring), spool));
        self.main.serve(&options.bind, &kept, options.bounds).await?;
        self.sealer.announce_recovery(self.main.view.recovery_port, &kept_epochs);
        self.kept = Some(kept);
        Ok(())
    }

    /// Publishes some of it elsewhere as well. After [`Publisher::recover`], whose frames it hands out; where nothing is kept,
    /// nothing is.
    ///
    /// # Errors
    /// Where an address cannot be bound.
    pub async fn add(&mut self, options: ScopedOptions) -> Result<(), LinkError> {
        let mut outlet = Outlet::bind(&options.bind, options.admission, options.scope).await?;
        if let Some(kept) = &self.kept {
            outlet.serve_first(&options.recovery, kept, options.bounds).await?;
        }
        self.scoped.push(outlet);
        Ok(())
    }

    /// Where those listen that were added, in their order, and where missed frames can be asked for there.
    pub fn scoped_endpoints(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.scoped.iter().map(|outlet| (outlet.endpoint(), outlet.recovery_endpoint()))
    }

    /// Where it listens.
    pub fn endpoint(&self) -> &str {
        self.main.endpoint()
    }

    /// Where missed frames can be asked for.
    pub fn recovery_endpoint(&self) -> Option<&str> {
        self.main.recovery_endpoint()
    }

    /// Who publishes.
    pub fn identity(&self) -> &Identity {
        self.sealer.identity()
    }

    /// Waits for somebody to connect where everything is published.
    pub async fn subscriber(&mut self) {
        self.main.socket.subscriber().await;
    }

    /// Publishes the frame of one zone.
    ///
    /// # Errors
    /// Where the frame cannot be sealed, or a socket is closed.
    pub async fn publish(
        &mut self,
        zone: v1::Zone,
        frame: &mut v1::Frame,
        time_ns: u64,
        interval_ms: u32,
    ) -> Result<(), LinkError> {
        let name = zone.name.clone();
        let sealed = self.sealer.seal_numbered(Some(zone), frame, time_ns, interval_ms)?;
        self.keep(&name, &sealed);
        for outlet in self.scoped.iter_mut().filter(|outlet| outlet.view.scope.takes(&name)) {
            outlet.socket.send(sealed.topic.clone(), sealed.bytes.clone()).await?;
        }
        self.main.socket.send(sealed.topic, sealed.bytes).await
    }

    /// Publishes the host frame: the end of a tick.
    ///
    /// # Errors
    /// Where it cannot be sealed, or a socket is closed.
    pub async fn announce(&mut self, time_ns: u64, interval_ms: u32) -> Result<(), LinkError> {
        self.publish_host(time_ns, interval_ms, false).await
    }

    /// Publishes the last host frame: a subscriber that has it knows that nothing else was published.
    ///
    /// # Errors
    /// As [`Publisher::announce`].
    pub async fn farewell(&mut self, time_ns: u64, interval_ms: u32) -> Result<(), LinkError> {
        self.publish_host(time_ns, interval_ms, true).await
    }

    async fn publish_host(&mut self, time_ns: u64, interval_ms: u32, farewell: bool) -> Result<(), LinkError> {
        let (sealed, whole) = self.sealer.seal_host_numbered(time_ns, interval_ms, farewell)?;
        self.keep("", &sealed);
        for outlet in &mut self.scoped {
            let bytes = match outlet.view.narrow(&whole) {
                Some(frame) => self.sealer.encode(&frame)?,
                None => sealed.bytes.clone(),
            };
            outlet.socket.send(sealed.topic.clone(), bytes).await?;
        }
        self.main.socket.send(sealed.topic, sealed.bytes).await
    }

    /// Before a frame is sent: whatever a subscriber has heard of can be asked for.
    fn keep(&mut self, zone: &str, sealed: &Sealed) {
        self.frames += 1;
        self.bytes += sealed.bytes.len() as u64;
        let Some(kept) = &self.kept else { return };
        kept.ring().push(zone, sealed.begins, sealed.sequence, sealed.bytes.clone(), self.started.elapsed());
        if let Some(spool) = kept.spool() {
            spool.push(zone, sealed.begins, sealed.sequence, sealed.bytes.clone());
        }
    }

    /// Frames and bytes published since the start.
    pub fn published(&self) -> (u64, u64) {
        (self.frames, self.bytes)
    }

    /// Bytes of frames that are in memory: in the ring, and in the queues of slow subscribers.
    pub fn bytes_in_memory(&self) -> u64 {
        self.sealer.bytes_in_memory()
    }

    /// Requests for missed frames that were answered.
    pub fn answered(&self) -> u64 {
        self.outlets().map(Outlet::answered).sum()
    }

    /// What was turned away, of those who subscribe and of those who ask.
    pub fn refused(&self) -> Refused {
        self.outlets().fold(Refused::default(), |all, outlet| all + outlet.refused())
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        std::iter::once(&self.main).chain(&self.scoped)
    }

    /// Frames that the spool left out, since the disk did not keep up or was full.
    pub fn spool_drops(&self) -> u64 {
        self.kept.as_ref().and_then(|kept| kept.spool()).map_or(0, Spool::dropped)
    }
}
