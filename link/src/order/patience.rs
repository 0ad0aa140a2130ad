//! How long to wait for what is missing, and when to forget.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::host::Life;
use super::stream::Stream;
use super::{Item, Note, Reason};

/// A topic of which nothing was heard for so long is forgotten. Its generator forgot it earlier: see
/// [`crate::publish::FORGET_AFTER`].
const FORGET_AFTER: Duration = Duration::from_secs(2 * 3600);

/// How often to look for what can be forgotten.
pub(super) const FORGET_EVERY: Duration = Duration::from_secs(600);

/// With the buffer full, a recovery that has told nothing for this part of the time to give up is not waited for any more: by
/// default 5 s.
const PATIENCE_WHEN_FULL: u32 = 6;

/// How often to look for whom not to wait for, while the buffer is full.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often to look for what is to be given up.
pub(super) const TICK: Duration = Duration::from_millis(100);

impl<T: Item> Core<T> {
    /// Time has passed, and nothing that arrived before `now` is still on its way in.
    pub fn tick(&mut self, now: Duration) {
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        let options = self.options;
        let hosts: Vec<String> =
            self.hosts.iter().filter(|(_, h)| h.wants() || h.holds_back()).map(|(id, _)| id.clone()).collect();
        for host_id in hosts {
            let Some(host) = self.hosts.get_mut(&host_id) else { continue };
            let alive = host.alive;
            // A publisher that never sends a host frame is none of ours. It is not waited for.
            if host.lives.iter_mut().filter_map(|life| life.let_go(alive, options.give_up).then_some(())).count() > 0 {
                self.settle(&host_id);
            }
            let Some(host) = self.hosts.get(&host_id) else { continue };
            if now.saturating_sub(host.contact) > options.abandon {
                self.give_up(&host_id, Reason::Unreachable, |_, _| true);
            } else {
                self.give_up(&host_id, Reason::Unreachable, |life, stream| {
                    let since = stream.waits_since.unwrap_or(alive).max(life.progress);
                    alive.saturating_sub(since) > options.give_up
                });
            }
        }
        if now >= self.forget_at {
            self.forget_at = now + FORGET_EVERY;
            self.forget(now);
        }
    }

    /// Gives up at once what nobody could be asked for.
    pub(super) fn without_recovery(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get(host_id) else { return };
        let mut open = host.sessions.iter().map(|s| &self.sessions[*s]).filter(|session| session.connected).peekable();
        if host.wants() && open.peek().is_some() && open.all(|session| session.port == Some(None)) {
            self.give_up(host_id, Reason::NoRecovery, |_, _| true);
        }
    }

    /// The buffer is full. Who is known to answer will bring again what is let go; who is not is not waited for.
    pub(super) fn make_room(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else { return };
        let alive = host.alive;
        if alive < host.look_again {
            return;
        }
        host.look_again = alive + LOOK_AGAIN;
        let patience = self.options.give_up / PATIENCE_WHEN_FULL;
        let silent = |life: &Life<T>, stream: &Stream<T>| {
            let since = stream.waits_since.unwrap_or(alive).max(life.progress);
            alive.saturating_sub(since) > patience
        };
        self.give_up(host_id, Reason::Unreachable, silent);
    }

    /// Gives up what `which` says of a host.
    fn give_up(&mut self, host_id: &str, reason: Reason, which: impl Fn(&Life<T>, &Stream<T>) -> bool) {
        let Some(host) = self.hosts.get_mut(host_id) else { return };
        let alive = host.alive;
        let mut any = false;
        for life in &mut host.lives {
            let zones: Vec<Arc<str>> = life
                .wanting
                .iter()
                .filter(|zone| life.streams.get(&***zone).is_some_and(|stream| which(life, stream)))
                .cloned()
                .collect();
            let reason = if reason == Reason::NoRecovery && life.ended { Reason::Restarted } else { reason };
            for zone in zones {
                if let Some(stream) = life.streams.get_mut(&zone) {
                    stream.never(1, u64::MAX, Some(reason));
                    stream.end_is_lost((zone.is_empty() && !life.farewell).then_some(reason));
                    any = true;
                }
                life.note(&zone, alive);
            }
        }
        if any {
            self.notes.push_back(Note::GaveUp { host_id: host_id.to_owned(), reason });
            self.settle(host_id);
        }
    }

    /// Forgets topics and hosts that were not heard of for long, and miss nothing.
    fn forget(&mut self, now: Duration) {
        for host in self.hosts.values_mut() {
            for life in &mut host.lives {
                let before = life.streams.len();
                life.streams.retain(|zone, stream| {
                    zone.is_empty() || !stream.is_settled() || now.saturating_sub(stream.touched) <= FORGET_AFTER
                });
                self.topics -= before - life.streams.len();
            }
        }
        let (topics, sessions) = (&mut self.topics, &mut self.sessions);
        self.hosts.retain(|host_id, host| {
            let stays = host.wants() || now.saturating_sub(host.contact) <= FORGET_AFTER;
            if !stays {
                *topics -= host.lives.iter().map(|life| life.streams.len()).sum::<usize>();
                for session in sessions.iter_mut() {
                    session.current.remove(host_id);
                }
            }
            stays
        });
    }
}
