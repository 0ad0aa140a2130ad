//! `run`: from the socket into the store, until told to end.

use std::sync::Arc;
use std::time::Duration;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::notify::Notify;
use zonescope_link::shutdown::{Reload, Shutdown};
use zonescope_link::{Subscriber, SubscriberOptions};

use crate::cli::RunArguments;
use crate::config::{self, Settings};
use crate::store::fs::RealFs;
use crate::store::housekeeping::Housekeeper;
use crate::store::ingest::{Inbox, Ingest};
use crate::store::{Place, Store, StoreError, StoreOptions};

/// So often is a disk that is full at the start looked at again.
const ROOM_EVERY: Duration = Duration::from_secs(2);

/// Subscribes and stores.
///
/// # Errors
/// Where the root is in use or cannot be written, or an endpoint is none.
pub fn run(arguments: &RunArguments, settings: &Settings) -> anyhow::Result<()> {
    let mut options = settings.intake.options()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = Place::new(settings.root.clone(), Arc::new(RealFs));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (shutdown, notify) =
        runtime.block_on(async { Shutdown::install().map(|s| (s, Notify::from_environment())) })?;
    let opened = runtime.block_on(open(&place, settings.store, clock.as_ref(), &shutdown, &notify))?;
    let Some(store) = opened else { return Ok(()) };
    // What came while nobody listened is asked for.
    options.resume = store.positions();
    let (inbox, ingest) = Ingest::start(store, Arc::clone(&clock))?;
    let housekeeper = Housekeeper::start(place, settings.retention, clock)?;

    let received = runtime.block_on(receive(arguments, settings, options, inbox, &shutdown, notify));
    // The inbox is gone: the store writes what it has, and ends.
    let stored = ingest.join()?;
    drop(housekeeper);
    tracing::info!(
        frames = stored.frames,
        rows = stored.rows,
        duplicates = stored.duplicates,
        gaps = stored.gaps,
        flushes = stored.flushes,
        "everything received is in Parquet"
    );
    received
}

/// Opens the store; `None` where we are told to end first. A full disk is waited for: a service that ends soon after each start
/// is given up by systemd (StartLimitBurst) and by svc.startd (maintenance), and would stay away when there is room again.
async fn open(
    place: &Place,
    options: StoreOptions,
    clock: &dyn Clock,
    shutdown: &Shutdown,
    notify: &Notify,
) -> Result<Option<Store>, StoreError> {
    let mut said = false;
    loop {
        match Store::open(place.clone(), options, clock.now_ns()) {
            Err(error) if error.is_full() => {
                if !said {
                    tracing::error!("{error}: make room; looking again every {} s", ROOM_EVERY.as_secs());
                    said = true;
                }
            }
            opened => return opened.map(Some),
        }
        notify.starting();
        tokio::select! {
            () = tokio::time::sleep(ROOM_EVERY) => {}
            () = shutdown.requested() => return Ok(None),
        }
    }
}

async fn receive(
    arguments: &RunArguments,
    settings: &Settings,
    options: SubscriberOptions,
    inbox: Inbox,
    shutdown: &Shutdown,
    mut notify: Notify,
) -> anyhow::Result<()> {
    let mut reload = Reload::install()?;
    let mut positions = options.resume.clone();
    let endpoints = options.addresses();
    let mut subscriber = Subscriber::connect(options).await?;
    notify.ready();
    tracing::info!(
        endpoints, root = %settings.root.display(),
        memory_mib = settings.store.memory_bytes >> 20, flush_seconds = settings.store.flush_every.as_secs(), "receiving"
    );
    loop {
        tokio::select! {
            event = subscriber.next() => {
                // Waits while the store does not keep up; told to end, it does not wait for that.
                let taken = tokio::select! {
                    taken = notify.during(inbox.put(event)) => taken,
                    () = shutdown.requested() => false,
                };
                if !taken {
                    break;
                }
            }
            () = reload.requested() => match config::load(arguments).and_then(|settings| settings.intake.options()) {
                Ok(options) => {
                    // Zones that are not taken for a while go on where they were left.
                    positions.extend(subscriber.positions());
                    let (endpoints, resume) = (options.addresses(), positions.clone());
                    subscriber = Subscriber::connect(SubscriberOptions { resume, ..options }).await?;
                    tracing::info!(endpoints, "the configuration was read again; all but `connect`, `zones` and keys waits for a restart");
                }
                Err(wrong) => tracing::error!("{wrong}: everything goes on as before"),
            },
            () = notify.beat() => {}
            () = shutdown.requested() => break,
        }
    }
    notify.leaving();
    let counters = subscriber.counters();
    tracing::info!(
        frames = counters.frames,
        bytes = counters.bytes,
        bad = counters.bad,
        duplicates = counters.duplicates,
        recovered = counters.recovered,
        gaps = counters.gaps,
        missing = counters.missing,
        "received"
    );
    Ok(())
}
