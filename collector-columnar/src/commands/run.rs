//! `run`: from the socket into the store, until told to end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use zonescope_link::clock::{Clock, SystemClock};
use zonescope_link::exit::Usage;
use zonescope_link::notify::Notify;
use zonescope_link::shutdown::{Reload, Shutdown};
use zonescope_link::transport::Credentials;
use zonescope_link::{LinkError, Subscriber, SubscriberOptions};
use zonescope_proto::Topic;

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
pub fn run(arguments: &RunArguments, settings: Settings) -> anyhow::Result<()> {
    let credentials = settings.credentials()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let place = Place::new(settings.root.clone(), Arc::new(RealFs));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (shutdown, notify) =
        runtime.block_on(async { Shutdown::install().map(|s| (s, Notify::from_environment())) })?;
    let opened = runtime.block_on(open(&place, settings.store, clock.as_ref(), &shutdown, &notify))?;
    let Some(store) = opened else { return Ok(()) };
    // What came while nobody listened is asked for.
    let stored = store.positions();
    let (inbox, ingest) = Ingest::start(store, Arc::clone(&clock))?;
    let housekeeper = Housekeeper::start(place, settings.retention, clock)?;

    let received = runtime.block_on(receive(arguments, settings, credentials, stored, inbox, &shutdown, notify));
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
    settings: Settings,
    credentials: HashMap<String, Credentials>,
    mut positions: HashMap<Topic, (u64, u64)>,
    inbox: Inbox,
    shutdown: &Shutdown,
    mut notify: Notify,
) -> anyhow::Result<()> {
    let mut reload = Reload::install()?;
    let mut subscriber = subscribe(&settings, credentials, positions.clone()).await?;
    notify.ready();
    tracing::info!(
        endpoints = settings.endpoints.join(","), root = %settings.root.display(),
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
            () = reload.requested() => match read_again(arguments) {
                Ok((settings, credentials)) => {
                    // Zones that are not taken for a while go on where they were left.
                    positions.extend(subscriber.positions());
                    subscriber = subscribe(&settings, credentials, positions.clone()).await?;
                    tracing::info!(endpoints = settings.endpoints.join(","), "the configuration was read again; all but `connect`, `zones` and keys waits for a restart");
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

fn read_again(arguments: &RunArguments) -> Result<(Settings, HashMap<String, Credentials>), Usage> {
    let settings = config::load(arguments)?;
    let credentials = settings.credentials()?;
    Ok((settings, credentials))
}

/// Goes on where `resume` says, as far as the zones are wanted.
async fn subscribe(
    settings: &Settings,
    credentials: HashMap<String, Credentials>,
    mut resume: HashMap<Topic, (u64, u64)>,
) -> Result<Subscriber, LinkError> {
    let (endpoints, zones) = (settings.endpoints.clone(), settings.zones.clone());
    resume.retain(|topic, _| {
        zones.is_empty() || topic.zone.is_empty() || zones.iter().any(|zone| zone.as_str() == topic.zone)
    });
    Subscriber::connect(SubscriberOptions { endpoints, credentials, zones, resume, ..SubscriberOptions::default() })
        .await
}
