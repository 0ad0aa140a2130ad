//! Compaction and retention, on a thread of their own. Once a minute; they share nothing with the store but the names
//! of files.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use zonescope_link::clock::Clock;

use super::compact::{Outcome, jobs, merge};
use super::retention::{Retention, retain};
use super::{Place, StoreError};

const EVERY: Duration = Duration::from_secs(60);

/// Keeps house until dropped.
#[derive(Debug)]
pub struct Housekeeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Housekeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn start(place: Place, retention: Retention, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut house = House { place, damaged: BTreeSet::new() };
        let keep = move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(EVERY) {
                let now = clock.now_ns();
                if let Err(error) =
                    house.remove(retention, now).and_then(|()| runtime.block_on(house.merge(now, false, &stopped)))
                {
                    tracing::warn!("housekeeping is put off for a minute: {error}");
                }
            }
        };
        let thread = std::thread::Builder::new().name("housekeeping".to_owned()).spawn(keep)?;
        Ok(Housekeeper { stop: Some(stop), thread: Some(thread) })
    }
}

/// A store to be kept in order.
#[derive(Debug)]
struct House {
    place: Place,
    /// Files that were named already.
    damaged: BTreeSet<PathBuf>,
}

impl House {
    fn remove(&self, retention: Retention, now: u64) -> Result<(), StoreError> {
        let removed = retain(&self.place, retention, now)?;
        if removed.hours > 0 {
            tracing::info!(hours = removed.hours, files = removed.files, bytes = removed.bytes, "removed the oldest");
        }
        Ok(())
    }

    /// Merges what there is to merge, until stopped.
    async fn merge(&mut self, now: u64, everything: bool, stopped: &Receiver<()>) -> Result<(), StoreError> {
        for job in jobs(&self.place, now, everything, &self.damaged)? {
            if stopped.try_recv() != Err(TryRecvError::Empty) {
                break;
            }
            match merge(&self.place, &job).await? {
                Outcome::Merged { before, after } => {
                    tracing::debug!(table = job.table, files = job.files.len(), before, after, "merged");
                }
                Outcome::Damaged(files) => {
                    for file in &files {
                        let why = super::damage::why(file).unwrap_or_default();
                        tracing::warn!(file = %file.display(), "damaged, and left as it is: {why}");
                    }
                    self.damaged.extend(files);
                }
            }
        }
        Ok(())
    }
}

/// Merges everything there is to merge, at once: for when no collector runs. The caller holds the lock.
///
/// # Errors
/// Where the disk refuses.
pub async fn compact_all(place: &Place, now: u64) -> Result<(), StoreError> {
    let mut house = House { place: place.clone(), damaged: BTreeSet::new() };
    let (_running, stopped) = channel();
    loop {
        let (known, before) = (house.damaged.len(), jobs(place, now, true, &house.damaged)?.len());
        house.merge(now, true, &stopped).await?;
        // Again where chunks were merged, or where files turned out to be damaged.
        if before == 0 && known == house.damaged.len() {
            return Ok(());
        }
    }
}
