//! The daemon: every tick reads the sources, publishes a frame a zone, and announces what it sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::notify::Notify;
use zonescope_link::shutdown::{Reload, Shutdown};
use zonescope_link::transport::Admission;
use zonescope_link::{LinkError, Publisher, RecoveryOptions};
use zonescope_proto::limits::MAX_QUEUED;
use zonescope_proto::{ZoneName, v1};

use crate::agent;
use crate::cli::Speed;
use crate::config::Config;
use crate::ring::RecoveryBind;
use crate::select::{self, Selection};
use crate::source::{End, Sample, Source, Tick};
use crate::tick::Cadence;

/// After the last frame, connections stay for so long: what is queued for subscribers still leaves. As long as somebody asks for
/// what it missed they stay again, up to [`LONGEST_LINGER`].
const LINGER: Duration = Duration::from_millis(500);

/// Whoever ends us does not wait for ever.
const LONGEST_LINGER: Duration = Duration::from_secs(10);

/// A recording that is played as fast as it goes waits for its first subscriber, and then so long for the
/// subscription itself to arrive.
const SUBSCRIPTION_ARRIVES: Duration = Duration::from_millis(500);

/// Runs until told to end, or until a recording ends.
///
/// # Errors
/// Where the address cannot be bound or a source cannot be opened.
pub fn run(config: Config) -> anyhow::Result<()> {
    agent::raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::install()?;
        let selection = select::select(&config)?;
        let output = if config.quiet { Output::Diagnostics } else { Output::publish(&config, &selection).await? };
        let mut daemon = Daemon::new(config, selection, output);
        let mut notify = Notify::from_environment();
        notify.ready();
        daemon.ticks(&shutdown, Reload::install()?, &mut notify).await?;
        notify.leaving();
        daemon.leave().await
    })
}

/// Where frames go.
enum Output {
    Publish(Box<Publisher>),
    Diagnostics,
}

impl Output {
    async fn publish(config: &Config, selection: &Selection) -> Result<Self, LinkError> {
        let mut publisher = Publisher::bind(&config.bind, Admission::Open, selection.identity.clone()).await?;
        recover(&mut publisher, config).await?;
        tracing::info!(
            endpoint = publisher.endpoint(),
            recovery = publisher.recovery_endpoint().unwrap_or("off"),
            host = selection.identity.host,
            source = selection.names(),
            interval_ms = config.interval_ms,
            "publishing; at most {MAX_QUEUED} frames wait for a slow subscriber, then newer ones are left out for it alone"
        );
        if config.playing.speed == Some(Speed::Max) {
            tracing::info!("waiting for a subscriber before playing");
            publisher.subscriber().await;
            tokio::time::sleep(SUBSCRIPTION_ARRIVES).await;
        }
        Ok(Output::Publish(Box::new(publisher)))
    }
}

/// Keeps what is published for those who miss some of it, as configured.
async fn recover(publisher: &mut Publisher, config: &Config) -> Result<(), LinkError> {
    let recover = async |publisher: &mut Publisher, bind: &str| {
        let options = config.ring.options(bind.to_owned());
        match publisher.recover(options.clone(), Arc::new(SystemClock)).await {
            // A bad disk is no reason not to watch the host.
            Err(error @ LinkError::Spool(_)) => {
                tracing::error!("{error}: frames do not survive a restart of the generator");
                publisher.recover(RecoveryOptions { spool: None, ..options }, Arc::new(SystemClock)).await
            }
            done => done,
        }
    };
    match RecoveryBind::new(config.recovery_bind.as_deref(), &config.bind)? {
        RecoveryBind::Off => {
            tracing::warn!("recovery_bind is off: what a subscriber misses is lost");
            return Ok(());
        }
        RecoveryBind::Configured(endpoint) => recover(publisher, &endpoint).await?,
        RecoveryBind::Derived { first, otherwise } => match recover(publisher, &first).await {
            Err(LinkError::Bind { reason, .. }) => {
                tracing::warn!("cannot serve recovery on {first}: {reason}; taking any free port");
                recover(publisher, &otherwise).await?;
            }
            done => done?,
        },
    }
    let ring = &config.ring;
    tracing::info!(
        mib = ring.bytes >> 20,
        seconds = ring.age_s,
        spool = ring.spool.as_ref().map_or("none".to_owned(), |path| path.display().to_string()),
        spool_mib = ring.spool.as_ref().map(|_| ring.spool_bytes >> 20),
        "frames are kept for subscribers that miss some"
    );
    Ok(())
}

/// What runs from tick to tick.
struct Daemon {
    config: Config,
    sources: Vec<Box<dyn Source>>,
    recorded: bool,
    output: Output,
    cadence: Cadence,
    agent: v1::Agent,
    previous_time: Option<u64>,
}

impl Daemon {
    fn new(config: Config, selection: Selection, output: Output) -> Self {
        let cadence = Cadence::new(u64::from(config.interval_ms) * 1_000_000);
        let zero = Some(0);
        let agent = v1::Agent { ticks: zero, ticks_skipped: zero, drops: zero, ..v1::Agent::default() };
        let recorded = selection.recorded;
        Daemon { config, sources: selection.sources, recorded, output, cadence, agent, previous_time: None }
    }

    async fn ticks(&mut self, shutdown: &Shutdown, mut reload: Reload, notify: &mut Notify) -> anyhow::Result<()> {
        loop {
            let wait = Duration::from_nanos(self.wait_ns());
            tokio::select! {
                () = shutdown.requested() => return Ok(()),
                () = reload.requested() => {
                    tracing::info!("SIGHUP: reading D programs again; everything else is read at the start");
                    self.sources.iter_mut().for_each(|source| source.reload());
                    continue;
                }
                () = notify.beat() => continue,
                () = tokio::time::sleep(wait) => {}
            }
            match self.tick().await {
                Ok(()) => {}
                Err(Stop::End) => {
                    tracing::info!("the recording has been played");
                    return Ok(());
                }
                Err(Stop::Link(error)) => return Err(error.into()),
            }
        }
    }

    fn wait_ns(&self) -> u64 {
        match self.config.playing.speed {
            Some(Speed::Max) if self.recorded => 0,
            Some(Speed::Times(times)) if self.recorded => (f64::from(self.config.interval_ms) * 1e6 / times) as u64,
            _ => self.cadence.wait_ns(SystemClock.now_ns()),
        }
    }

    async fn tick(&mut self) -> Result<(), Stop> {
        let now = SystemClock.now_ns();
        let due = self.cadence.due(now);
        let started = Instant::now();
        let mut sample = Sample::default();
        tokio::task::block_in_place(|| read(&mut self.sources, due.tick, &mut sample))?;
        let read_for = started.elapsed();

        self.account(due.skipped, now.saturating_sub(due.tick.time_ns));
        let time = sample.time_ns.unwrap_or(due.tick.time_ns);
        let zones = sample.zones.len();
        self.about_ourselves(&mut sample);
        let bytes = self.send(sample, time).await?;
        let took = started.elapsed();
        self.agent.duration = Some(nanoseconds(took));
        if self.config.quiet {
            let line = format!(
                "{time} zones {zones} bytes {bytes} read {:.3} ms encode {:.3} ms late {:.3} ms skipped {}",
                read_for.as_secs_f64() * 1e3,
                (took - read_for).as_secs_f64() * 1e3,
                self.agent.late.unwrap_or(0) as f64 / 1e6,
                self.agent.ticks_skipped.unwrap_or(0),
            );
            // Nobody reads it: then there is nothing left to do.
            crate::cli::say(&line).map_err(|_| Stop::End)?;
        }
        Ok(())
    }

    fn account(&mut self, skipped: u64, late_ns: u64) {
        self.agent.ticks = self.agent.ticks.map(|t| t + 1);
        if self.recorded {
            return;
        }
        self.agent.ticks_skipped = self.agent.ticks_skipped.map(|t| t + skipped);
        self.agent.late = Some(late_ns);
        if skipped > 0 {
            tracing::warn!(skipped, "ticks left out: an earlier one took longer than the interval");
        }
    }

    /// Puts what concerns the generator itself into the frame of `global`.
    fn about_ourselves(&mut self, sample: &mut Sample) {
        self.agent.zones = Some(sample.zones.len() as u64);
        self.agent.cpu_nsec = agent::cpu_nsec();
        self.agent.rss = agent::rss();
        if let Output::Publish(publisher) = &self.output {
            let (frames, bytes) = publisher.published();
            (self.agent.frames, self.agent.bytes) = (Some(frames), Some(bytes));
            let refused = publisher.refused();
            (self.agent.turned_away, self.agent.left_out) = (Some(refused.of_peers()), Some(refused.left_out));
        }
        let collect = std::mem::take(&mut sample.collect);
        // A recording of a zone has no `global` to report on.
        if self.recorded && !sample.zones.keys().any(|z| z.as_str() == ZoneName::GLOBAL) {
            return;
        }
        let frame = &mut sample.zone(&ZoneName::global()).frame;
        frame.collect = collect;
        frame.agent = Some(self.agent);
    }

    /// Sends every zone's frame, then the host frame. A frame that breaks a limit is dropped and counted.
    async fn send(&mut self, sample: Sample, time: u64) -> Result<u64, Stop> {
        let interval_ms = self.interval_ms(time);
        let Output::Publish(publisher) = &mut self.output else {
            return Ok(sample.zones.values().map(|z| zonescope_proto::Message::encoded_len(&z.frame) as u64).sum());
        };
        let before = publisher.published().1;
        for (_, mut zone) in sample.zones {
            match publisher.publish(zone.zone, &mut zone.frame, time, interval_ms).await {
                Ok(()) => {}
                Err(error @ (LinkError::Frame { .. } | LinkError::Name(_))) => {
                    self.agent.drops = self.agent.drops.map(|d| d + 1);
                    tracing::warn!("dropped a frame: {error}");
                }
                Err(error) => return Err(Stop::Link(error)),
            }
        }
        publisher.announce(time, interval_ms).await.map_err(Stop::Link)?;
        Ok(publisher.published().1 - before)
    }

    /// The interval to announce: a recording's own.
    fn interval_ms(&mut self, time: u64) -> u32 {
        let previous = self.previous_time.replace(time);
        match previous {
            Some(previous) if self.recorded && time > previous => {
                u32::try_from((time - previous) / 1_000_000).unwrap_or(u32::MAX).max(1)
            }
            _ => self.config.interval_ms,
        }
    }

    /// One more tick where a source still holds something, then time for queued frames to leave.
    async fn leave(mut self) -> anyhow::Result<()> {
        let mut left = false;
        tokio::task::block_in_place(|| self.sources.iter_mut().for_each(|source| left |= source.shutdown()));
        if left && let Err(Stop::Link(error)) = self.tick().await {
            return Err(error.into());
        }
        let Output::Publish(mut publisher) = self.output else { return Ok(()) };
        if let Some(time) = self.previous_time {
            publisher.farewell(time, self.config.interval_ms).await?;
        }
        let since = Instant::now();
        loop {
            let answered = publisher.answered();
            tokio::time::sleep(LINGER).await;
            if publisher.answered() == answered || since.elapsed() >= LONGEST_LINGER {
                break;
            }
        }
        // Waits for the spool's last write.
        tokio::task::block_in_place(|| drop(publisher));
        Ok(())
    }
}

/// Why ticks end.
enum Stop {
    End,
    Link(LinkError),
}

impl From<End> for Stop {
    fn from(_: End) -> Self {
        Stop::End
    }
}

/// Reads every source. All of them end when one has ended: a recording stands alone.
pub fn read(sources: &mut [Box<dyn Source>], tick: Tick, sample: &mut Sample) -> Result<(), End> {
    sources.iter_mut().try_for_each(|source| source.sample(tick, sample))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
