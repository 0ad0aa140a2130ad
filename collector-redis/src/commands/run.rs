//! `run`: from the socket into Redis, until told to end.

use std::sync::Arc;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::notify::Notify;
use zonescope_link::shutdown::{Reload, Shutdown};
use zonescope_link::{Subscriber, SubscriberOptions};

use crate::cli::RunArguments;
use crate::config::{self, Settings};
use crate::inbox::Inbox;
use crate::resume;
use crate::writer::{Options, Writer};

/// Subscribes and stores.
///
/// # Errors
/// Where an endpoint is none.
pub fn run(arguments: &RunArguments, settings: Settings) -> anyhow::Result<()> {
    let mut options = settings.intake.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::install()?;
        // Redis may be away, and that is normal: ready is who goes on by itself when it is back.
        let mut notify = Notify::from_environment();
        notify.ready();
        let clock = Arc::new(SystemClock);
        let inbox = Arc::new(Inbox::new(settings.backlog, clock.clone()));
        options.resume = tokio::select! {
            resume = notify.during(resume::positions(&settings.target, &settings.style.keys, clock.now_ns() / 1_000_000)) => resume,
            () = shutdown.requested() => return Ok(()),
        };
        let (endpoints, topics_known) = (options.addresses(), options.resume.len());
        let subscriber = Subscriber::connect(options).await?;
        tracing::info!(
            endpoints,
            redis = settings.target.describe(),
            topics_known,
            backlog_mib = settings.backlog >> 20,
            "receiving"
        );
        let options = Options {
            target: settings.target,
            style: settings.style,
            max_memory: settings.max_memory,
            name: settings.name,
        };
        let writer = tokio::spawn(Writer::new(options, Arc::clone(&inbox), clock).run(shutdown.clone()));
        receive(arguments, subscriber, &inbox, &shutdown, &mut notify).await?;
        notify.leaving();
        let left = writer.await?;
        if left > 0 {
            tracing::warn!(frames = left, "Redis did not take these in time: they are lost");
        }
        Ok(())
    })
}

async fn receive(
    arguments: &RunArguments,
    mut subscriber: Subscriber,
    inbox: &Inbox,
    shutdown: &Shutdown,
    notify: &mut Notify,
) -> anyhow::Result<()> {
    let mut reload = Reload::install()?;
    loop {
        tokio::select! {
            event = subscriber.next() => {
                inbox.put(event);
                inbox.count(subscriber.counters());
            }
            () = reload.requested() => match config::load(arguments).and_then(|settings| settings.intake.options()) {
                Ok(options) => {
                    let (endpoints, resume) = (options.addresses(), subscriber.positions());
                    subscriber = Subscriber::connect(SubscriberOptions { resume, ..options }).await?;
                    tracing::info!(endpoints, "the configuration was read again; all but `connect`, `zones` and keys waits for a restart");
                }
                Err(wrong) => tracing::error!("{wrong}: everything goes on as before"),
            },
            () = notify.beat() => {}
            () = shutdown.requested() => break,
        }
    }
    let counters = subscriber.counters();
    tracing::info!(
        frames = counters.frames,
        bytes = counters.bytes,
        bad = counters.bad,
        duplicates = counters.duplicates,
        gaps = counters.gaps,
        missing = counters.missing,
        "received"
    );
    Ok(())
}
