//! From the backlog into Redis, for as long as the process lives: connect, write batches, look after memory, say what is wrong.
//!
//! One batch is under way at a time; while it is, the next one gathers. After any trouble the connection is given up (in
//! a cluster: the zones that it struck are set aside, and the others go on), what Redis holds is read again, and writing
//! goes on from there. A cluster of which no node takes anything is given up as well. See [`crate::zone`] for why that writes each frame once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::cmd;
use zonescope_link::backoff::Backoff;
use zonescope_link::clock::Clock;
use zonescope_link::shutdown::Shutdown;

use crate::batch::{Context, Knowledge, Outcome};
use crate::connect::{Connection, Target, between_attempts};
use crate::health::Health;
use crate::inbox::Inbox;
use crate::limits::{
    BATCH_FRAMES, BATCH_WAIT, CHORE_TIMEOUT, CLUSTER_SILENCE, HEALTH_EVERY, LEAVE_WITHIN, MEMORY_EVERY, SWEEP_EVERY,
};
use crate::memory::{Memory, Verdict, evicts};
use crate::resume;
use crate::style::Style;
use crate::trouble::{Complaints, Trouble};

/// What the writer needs to know.
pub struct Options {
    /// Where Redis is.
    pub target: Target,
    /// How things are stored.
    pub style: Style,
    /// Ceiling of Redis's memory.
    pub max_memory: Option<u64>,
    /// Our name among collectors.
    pub name: String,
}

/// Writes.
pub struct Writer {
    options: Options,
    inbox: Arc<Inbox>,
    clock: Arc<dyn Clock>,
    knowledge: Knowledge,
    memory: Memory,
    complaints: Complaints,
    /// Zones of a cluster whose node is in trouble, and when to try them again.
    aside: HashMap<Arc<str>, Aside>,
    /// When a frame was last taken, or the connection made.
    taken: Instant,
    started_ms: u64,
    batch_us: u64,
    dropped_said: u64,
    met: bool,
}

struct Aside {
    until: Instant,
    backoff: Backoff,
}

/// What is to be done every now and then.
struct Chores {
    health: Instant,
    memory: Instant,
    sweep: Instant,
}

impl Writer {
    /// Writes what comes into `inbox`.
    pub fn new(options: Options, inbox: Arc<Inbox>, clock: Arc<dyn Clock>) -> Self {
        let memory = Memory::new(options.max_memory, options.style.keep_ms);
        let started_ms = clock.now_ns() / 1_000_000;
        Writer {
            options,
            inbox,
            clock,
            knowledge: Knowledge::default(),
            memory,
            complaints: Complaints::default(),
            aside: HashMap::new(),
            taken: Instant::now(),
            started_ms,
            batch_us: 0,
            dropped_said: 0,
            met: false,
        }
    }

    /// Writes until `shutdown`, and then for a little while what still waits. Gives how many frames had to be left.
    pub async fn run(mut self, shutdown: Shutdown) -> usize {
        let mut backoff = between_attempts();
        let mut end = None;
        loop {
            if let Err(trouble) = self.connected(&mut backoff, &shutdown, &mut end).await {
                self.complain(&trouble);
            }
            let waiting = self.inbox.backlog().level().waiting;
            if shutdown.is_requested() && (waiting == 0 || out_of_time(&mut end)) {
                return waiting;
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.wait()) => {}
                () = shutdown.requested(), if !shutdown.is_requested() => {}
            }
        }
    }

    /// Connects, and writes until something goes wrong, or until all is written and no more will come.
    async fn connected(
        &mut self,
        backoff: &mut Backoff,
        shutdown: &Shutdown,
        end: &mut Option<Instant>,
    ) -> Result<(), Trouble> {
        let connection = self.options.target.connect().await?;
        self.meet(&connection).await?;
        let mut chores = Chores::new();
        loop {
            self.chores(&connection, &mut chores).await?;
            let wrote = self.batch(&connection).await?;
            if wrote {
                backoff.reset();
                self.well();
            }
            let empty = self.inbox.backlog().level().waiting == 0;
            if shutdown.is_requested() && (empty || out_of_time(end)) {
                return self.report(&connection, "stopped").await;
            }
            if !wrote || !self.inbox.backlog().is_ripe(BATCH_FRAMES) {
                tokio::select! {
                    () = self.inbox.ripe() => {}
                    () = tokio::time::sleep(BATCH_WAIT) => {}
                    () = shutdown.requested(), if !shutdown.is_requested() => {}
                }
            }
        }
    }

    /// A connection is there: everything known is put in doubt, what was acknowledged lately included.
    async fn meet(&mut self, connection: &Connection) -> Result<(), Trouble> {
        self.knowledge.forget(|_| true);
        self.inbox.backlog().again(|_| true);
        self.aside.clear();
        self.taken = Instant::now();
        if self.met {
            return Ok(());
        }
        let keys = &self.options.style.keys;
        let known = match resume::everything(connection, keys, self.now_ms()).await {
            Ok(known) => known,
            // The index lies on a node that is away: each zone is read when its first frame comes.
            Err(_) if connection.is_cluster() => HashMap::new(),
            Err(trouble) => return Err(trouble),
        };
        self.met = true;
        tracing::info!(
            redis = self.options.target.describe(),
            zones_known = known.len(),
            keep_seconds = self.options.style.keep_ms / 1000,
            "connected to Redis"
        );
        self.knowledge.begin(known);
        for server in connection.info("memory").await.unwrap_or_default() {
            if let Some(policy) = evicts(&server) {
                tracing::warn!(
                    policy,
                    "Redis makes room by itself, and may remove the latest state: noeviction is the policy for us"
                );
            }
        }
        Ok(())
    }

    /// Writes the next frames. False where there was nothing to write.
    async fn batch(&mut self, connection: &Connection) -> Result<bool, Trouble> {
        let now = Instant::now();
        let frames = {
            let backlog = self.inbox.backlog();
            backlog.next(BATCH_FRAMES, |held| self.aside.get(&held.tag).is_none_or(|aside| aside.until <= now))
        };
        if frames.is_empty() {
            return Ok(false);
        }
        let (keep_ms, now_ms) = (self.memory.keep_ms(), self.now_ms());
        let context = Context { style: &self.options.style, keep_ms, now_ms };
        let inbox = Arc::clone(&self.inbox);
        let lost = |tag: &str| inbox.backlog().lost_of(tag);
        let mut outcome = self.knowledge.write(connection, context, frames, lost).await;
        self.batch_us = u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX);

        let done = std::mem::take(&mut outcome.done);
        if !done.is_empty() {
            self.taken = Instant::now();
        }
        // Whose time had come was in this batch.
        self.aside.retain(|tag, aside| aside.until > now || outcome.failed.contains_key(tag));
        self.inbox.backlog().acknowledge(done, self.clock.now_ns());
        if let Some(why) = outcome.refused.take() {
            tracing::warn!(refused = self.knowledge.done.refused, "Redis refused a command for good: {why}");
        }
        self.settle(connection, outcome).await?;
        Ok(true)
    }

    /// What failed is to be done again.
    async fn settle(&mut self, connection: &Connection, outcome: Outcome) -> Result<(), Trouble> {
        let Outcome { failed, trouble, .. } = outcome;
        let first = failed.values().next().cloned().or(trouble);
        if failed.values().any(|trouble| matches!(trouble, Trouble::Full(_))) {
            self.memory.squeeze();
            resume::trim(connection, &self.options.style.keys, self.memory.keep_ms()).await?;
        }
        let Some(first) = first else { return Ok(()) };
        if !connection.is_cluster() || self.taken.elapsed() > CLUSTER_SILENCE {
            return Err(first);
        }
        self.complain(&first);
        self.inbox.backlog().again(|tag| failed.contains_key(tag));
        for tag in failed.into_keys() {
            let aside =
                self.aside.entry(tag).or_insert_with(|| Aside { until: Instant::now(), backoff: between_attempts() });
            aside.until = Instant::now() + aside.backoff.wait();
        }
        Ok(())
    }

    /// What is done beside writing frames. In a cluster the trouble of one node is no reason to leave the others, nor to keep them
    /// waiting: what takes long is left for the next time.
    async fn chores(&mut self, connection: &Connection, chores: &mut Chores) -> Result<(), Trouble> {
        if !connection.is_cluster() {
            return self.chores_due(connection, chores).await;
        }
        let done = tokio::time::timeout(CHORE_TIMEOUT, self.chores_due(connection, chores)).await;
        if let Err(trouble) = done.unwrap_or(Err(Trouble::NoAnswer(CHORE_TIMEOUT))) {
            self.complain(&trouble);
        }
        Ok(())
    }

    async fn chores_due(&mut self, connection: &Connection, chores: &mut Chores) -> Result<(), Trouble> {
        if due(&mut chores.memory, MEMORY_EVERY) {
            let verdict = self.memory.look(&connection.info("memory").await?);
            if verdict == Verdict::Trim {
                resume::trim(connection, &self.options.style.keys, self.memory.keep_ms()).await?;
            }
        }
        if self.memory.begins_to_be_short() {
            tracing::warn!(
                keep_seconds = self.memory.keep_ms() / 1000,
                used_memory = self.memory.used(),
                "Redis is short of memory: history is kept for a shorter time, the oldest goes"
            );
        }
        if due(&mut chores.health, HEALTH_EVERY) {
            self.report(connection, "running").await?;
        }
        if due(&mut chores.sweep, SWEEP_EVERY) {
            self.sweep(connection).await?;
        }
        Ok(())
    }

    /// Who has been gone for as long as history is kept leaves the indexes; our own memory of them leaves sooner.
    async fn sweep(&mut self, connection: &Connection) -> Result<(), Trouble> {
        let now_ms = self.now_ms();
        let minutes = u64::try_from(SWEEP_EVERY.as_millis()).unwrap_or(u64::MAX);
        self.knowledge.sweep(now_ms.saturating_sub(2 * minutes));
        self.aside.retain(|_, aside| aside.until.elapsed() < SWEEP_EVERY);
        let keys = &self.options.style.keys;
        for key in [keys.zones(), keys.hosts()] {
            let oldest = now_ms.saturating_sub(self.options.style.keep_ms);
            connection.command(cmd("ZREMRANGEBYSCORE").arg(key).arg("-inf").arg(format!("({oldest}"))).await?;
        }
        Ok(())
    }

    async fn report(&self, connection: &Connection, state: &'static str) -> Result<(), Trouble> {
        let health = Health {
            started_ms: self.started_ms,
            now_ms: self.now_ms(),
            link: self.inbox.counters(),
            backlog: self.inbox.backlog().level(),
            done: self.knowledge.done,
            zones: self.knowledge.zones(),
            batch_us: self.batch_us,
            memory: &self.memory,
            complaints: &self.complaints,
            state,
        };
        let key = self.options.style.keys.collector(&self.options.name);
        for command in health.commands(&key) {
            connection.command(&command).await?;
        }
        Ok(())
    }

    fn complain(&mut self, trouble: &Trouble) {
        if self.complaints.note(trouble, Instant::now()) {
            let level = self.inbox.backlog().level();
            tracing::warn!(waiting = level.waiting, dropped = level.dropped, "Redis {trouble}");
        }
        self.say_dropped();
    }

    fn well(&mut self) {
        if !self.aside.is_empty() {
            return;
        }
        if let Some(time) = self.complaints.well(Instant::now()) {
            let level = self.inbox.backlog().level();
            tracing::info!(
                seconds = time.as_secs(),
                still_waiting = level.waiting,
                dropped = level.dropped,
                "Redis is well again"
            );
        }
        self.say_dropped();
    }

    /// The first frame that the backlog loses is news; and so is each time their number has doubled.
    fn say_dropped(&mut self) {
        let level = self.inbox.backlog().level();
        if level.dropped > self.dropped_said * 2 {
            self.dropped_said = level.dropped;
            tracing::warn!(
                dropped = level.dropped,
                bytes = level.bytes,
                "the backlog is full: the oldest frames go, and are on record as gaps"
            );
        }
    }

    fn now_ms(&self) -> u64 {
        self.clock.now_ns() / 1_000_000
    }
}

impl Chores {
    fn new() -> Self {
        let now = Instant::now();
        Chores { health: now, memory: now, sweep: now }
    }
}

/// Whether the time has come; sets the next.
fn due(at: &mut Instant, every: Duration) -> bool {
    let due = Instant::now() >= *at;
    if due {
        *at = Instant::now() + every;
    }
    due
}

/// Whether leaving has taken long enough; the first call starts the watch.
fn out_of_time(end: &mut Option<Instant>) -> bool {
    Instant::now() >= *end.get_or_insert_with(|| Instant::now() + LEAVE_WITHIN)
}
