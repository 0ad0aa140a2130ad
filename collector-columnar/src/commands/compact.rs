//! `compact`: merges small files where no collector runs.

use std::sync::Arc;

use zonescope_link::clock::{Clock, SystemClock};

use super::runtime;
use crate::cli::StoreArguments;
use crate::config;
use crate::store::fs::RealFs;
use crate::store::housekeeping::compact_all;
use crate::store::{Place, Store, StoreOptions};

/// Merges everything there is to merge.
///
/// # Errors
/// Where a collector runs, or the disk refuses.
pub fn compact(arguments: &StoreArguments) -> anyhow::Result<()> {
    let root = config::root(arguments.root.as_deref())?;
    crate::query::Engine::open(&root, 1)?;
    let place = Place::new(root, Arc::new(RealFs));
    let now = SystemClock.now_ns();
    // Opening finishes what a killed collector left, and its segment's number keeps all files older than the log.
    let store = Store::open(place.clone(), StoreOptions::default(), now)?;
    runtime(1)?.block_on(compact_all(&place, now))?;
    store.close(now)?;
    Ok(())
}
