//! One host: the epochs of it that are heard, and what is asked of it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::stream::{MAX_SEQUENCE, Stream};
use super::{Item, SessionId};

/// Epochs that are over, and remembered so that their stragglers are not taken for a new one.
const CLOSED_EPOCHS: usize = 16;

/// Ranges of one topic in one request: a topic in shreds must not crowd out the others.
const RANGES_OF_A_TOPIC: usize = 16;

/// How the streams of an epoch begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// We came in the middle: with what comes first.
    Joined,
    /// We heard what was before it: each topic from its first number.
    Followed,
    /// Our store says how far we were in it: other topics from their first number.
    Resumed,
}

/// One epoch of a host: one run of its generator.
#[derive(Debug)]
pub(super) struct Life<T> {
    pub(super) epoch: u64,
    origin: Origin,
    /// A host frame has been seen: whatever is not in it has not begun yet.
    pub(super) baseline: bool,
    /// We resumed behind this host frame. What it announced was forgotten, so that it is asked for again if no later one comes.
    pub(super) look_back: Option<u64>,
    /// Its generator has ended.
    pub(super) ended: bool,
    /// Its generator said what its last numbers are.
    pub(super) farewell: bool,
    pub(super) streams: HashMap<Arc<str>, Stream<T>>,
    /// Topics that miss something that could still come.
    pub(super) wanting: BTreeSet<Arc<str>>,
    /// The topic that was asked for last: the next request goes on behind it.
    cursor: Option<Arc<str>>,
    /// When the last answer told us something, on the clock of the host's life.
    pub(super) progress: Duration,
    /// When it was first heard of, on the same clock.
    pub(super) born: Duration,
}

impl<T: Item> Life<T> {
    pub(super) fn new(epoch: u64, origin: Origin, progress: Duration) -> Self {
        Life {
            epoch,
            origin,
            baseline: false,
            look_back: None,
            ended: false,
            farewell: false,
            streams: HashMap::new(),
            wanting: BTreeSet::new(),
            cursor: None,
            progress,
            born: progress,
        }
    }

    /// Whether a first host frame, its own or that of a later epoch, is to be waited for: only that tells of epochs
    /// between the last one we followed and this one, which are handed out before it.
    fn is_held_back(&self) -> bool {
        self.origin == Origin::Followed && !self.baseline
    }

    /// Begins the stream of a topic that was not heard of before. `first`: the number of the frame that brought it;
    /// otherwise it was announced.
    pub(super) fn begin(&mut self, zone: &str, first: Option<u64>, announced: u64, now: Duration) {
        let next = match self.is_being_joined() {
            true => first.unwrap_or(announced.min(MAX_SEQUENCE) + 1),
            false => 1,
        };
        self.streams.insert(Arc::from(zone), Stream::begin(next, now));
    }

    /// Whether we came in the middle of it, and its first host frame is still to come.
    pub(super) fn is_being_joined(&self) -> bool {
        self.origin == Origin::Joined && !self.baseline
    }

    /// Takes up a stream where it was left.
    pub(super) fn resume(&mut self, zone: &str, handed_out: u64, now: Duration) {
        if zone.is_empty() && handed_out > 0 {
            self.look_back = Some(handed_out);
        }
        self.streams.insert(Arc::from(zone), Stream::begin(handed_out.saturating_add(1), now));
    }

    /// Notes whether a topic misses something.
    pub(super) fn note(&mut self, zone: &str, alive: Duration) {
        let Some(stream) = self.streams.get_mut(zone) else { return };
        if stream.wants() {
            stream.waits_since.get_or_insert(alive);
            self.wanting.extend(self.streams.get_key_value(zone).map(|(name, _)| Arc::clone(name)));
        } else {
            stream.waits_since = None;
            self.wanting.remove(zone);
        }
    }

    /// Its first host frame is not waited for any longer. True where it was until now.
    pub(super) fn let_go(&mut self, alive: Duration, patience: Duration) -> bool {
        let over = self.is_held_back() && alive.saturating_sub(self.born) > patience;
        self.baseline |= over;
        over
    }

    /// The generator of this epoch has ended. `is_news`: of no later epoch a host frame has been handed out, so that this
    /// one's are still to come even if we know of none. Gives how many topics that adds.
    pub(super) fn end(&mut self, alive: Duration, now: Duration, is_news: bool) -> usize {
        if std::mem::replace(&mut self.ended, true) {
            return 0;
        }
        self.progress = alive;
        let begins = is_news && self.origin != Origin::Joined && !self.streams.contains_key("");
        if begins {
            self.begin("", None, 0, now);
        }
        if self.farewell {
            return usize::from(begins);
        }
        let zones: Vec<Arc<str>> = self.streams.keys().cloned().collect();
        for zone in zones {
            if let Some(stream) = self.streams.get_mut(&zone) {
                stream.end();
            }
            self.note(&zone, alive);
        }
        usize::from(begins)
    }

    /// The next ranges to ask for: every topic has its turn.
    pub(super) fn ranges(&mut self, most: usize) -> Vec<(Arc<str>, u64, u64)> {
        let mut ranges = Vec::new();
        let after = match &self.cursor {
            Some(zone) => Bound::Excluded(Arc::clone(zone)),
            None => Bound::Unbounded,
        };
        let turn = self.wanting.range((after.clone(), Bound::Unbounded));
        let rest = self.wanting.iter().take_while(|zone| match &after {
            Bound::Excluded(cursor) => *zone <= cursor,
            _ => false,
        });
        let mut cursor = None;
        for zone in turn.chain(rest) {
            let Some(stream) = self.streams.get(zone) else { continue };
            let room = most - ranges.len();
            if room == 0 {
                break;
            }
            let look_back = self.look_back.filter(|_| zone.is_empty());
            for (first, last) in stream.missing(room.min(RANGES_OF_A_TOPIC)) {
                ranges.push((Arc::clone(zone), look_back.map_or(first, |back| back.min(first)), last));
            }
            cursor = Some(Arc::clone(zone));
        }
        self.cursor = cursor;
        ranges
    }

    /// Whether nothing of it is left to hand out.
    pub(super) fn is_settled(&self) -> bool {
        self.streams.values().all(Stream::is_settled)
    }
}

/// A request under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) session: SessionId,
    pub(super) id: u64,
    pub(super) epoch: u64,
}

/// One host.
#[derive(Debug)]
pub(super) struct Host<T> {
    /// Its epochs in the order in which we heard of them: an ended one hands out before the later ones.
    pub(super) lives: Vec<Life<T>>,
    pub(super) closed: VecDeque<u64>,
    /// Connections on which it was heard.
    pub(super) sessions: Vec<SessionId>,
    /// The clock of its life: runs only while frames of it arrive. While a link is cut or the generator is
    /// stopped, no gap gets older.
    pub(super) alive: Duration,
    pub(super) heard: Option<Duration>,
    /// The last word of it, frame or answer, on our own clock.
    pub(super) contact: Duration,
    pub(super) asked: Option<Asked>,
    pub(super) ask_after: Duration,
    /// Whose turn it is to be asked for.
    pub(super) turn: usize,
    pub(super) told_of_two: bool,
    /// When to look again for whom not to wait for, on the clock of its life.
    pub(super) look_again: Duration,
}

impl<T: Item> Host<T> {
    pub(super) fn new(now: Duration) -> Self {
        Host {
            lives: Vec::new(),
            closed: VecDeque::new(),
            sessions: Vec::new(),
            alive: Duration::ZERO,
            heard: None,
            contact: now,
            asked: None,
            ask_after: Duration::ZERO,
            turn: 0,
            told_of_two: false,
            look_again: Duration::ZERO,
        }
    }

    pub(super) fn position(&self, epoch: u64) -> Option<usize> {
        self.lives.iter().position(|life| life.epoch == epoch)
    }

    /// A frame has come from it. A pause counts for no more than two intervals.
    pub(super) fn hear(&mut self, now: Duration, longest: Duration) {
        if let Some(heard) = self.heard {
            self.alive += now.saturating_sub(heard).min(longest);
        }
        self.heard = Some(now);
        self.contact = now;
    }

    /// Whether a topic of the life at `index` must wait: for its first host frame, or for an earlier, ended life. The host's
    /// own topic goes last, when nothing at all is left of the earlier one: who resumes from a position in it need not
    /// look back.
    pub(super) fn must_wait(&self, index: usize, zone: &str) -> bool {
        let (earlier, this) = self.lives.split_at(index);
        if this.first().is_some_and(Life::is_held_back) {
            return true;
        }
        let unsettled = |life: &Life<T>, zone: &str| life.streams.get(zone).is_some_and(|stream| !stream.is_settled());
        earlier.iter().filter(|life| life.ended).any(|life| match zone {
            "" => !life.is_settled(),
            // Its host frames may still tell of topics that we had not heard of.
            _ => unsettled(life, zone) || unsettled(life, ""),
        })
    }

    /// Adds epochs that ended before the life of `epoch` began, and that we had not heard of: those of `kept` that are later
    /// than all that we followed. Then nothing up to that life is held back any more.
    /// Gives how many topics that adds.
    pub(super) fn insert_kept(&mut self, epoch: u64, kept: &[u64]) -> usize {
        if !self.position(epoch).is_some_and(|index| self.lives[index].is_held_back()) {
            return 0;
        }
        let followed = self.lives.iter().filter(|life| !life.is_held_back()).map(|life| life.epoch);
        let last = followed.chain(self.closed.iter().copied()).max();
        let mut kept: Vec<u64> = kept.iter().copied().filter(|kept| last.is_some_and(|last| *kept > last)).collect();
        kept.retain(|kept| *kept < epoch && self.position(*kept).is_none());
        kept.sort_unstable();
        for kept in &kept {
            let mut life = Life::new(*kept, Origin::Followed, self.alive);
            // Its host frames tell all the rest.
            life.end(self.alive, self.contact, true);
            let later = self.lives.iter().position(|life| life.is_held_back() && life.epoch > *kept);
            self.lives.insert(later.unwrap_or(self.lives.len()), life);
        }
        let until = self.position(epoch).map_or(0, |index| index + 1);
        self.lives[..until].iter_mut().filter(|life| life.is_held_back()).for_each(|life| life.baseline = true);
        kept.len()
    }

    /// Whether our store has a topic in a later life than the one at `index`, which has ended: then nothing is left of it here.
    pub(super) fn is_over(&self, index: usize, zone: &str) -> bool {
        let (life, later) = (&self.lives[index], &self.lives[index + 1..]);
        let has_begun = |life: &Life<T>| life.streams.get(zone).is_some_and(|stream| stream.handed_out() > 0);
        life.ended && life.origin == Origin::Resumed && later.iter().any(has_begun)
    }

    /// Whether frames wait for a first host frame.
    pub(super) fn holds_back(&self) -> bool {
        self.lives.iter().any(Life::is_held_back)
    }

    /// Takes ended epochs that have nothing left off the list. Gives how many topics they had.
    pub(super) fn close_settled(&mut self) -> usize {
        let (closed, mut topics) = (&mut self.closed, 0);
        self.lives.retain(|life| {
            let over = life.ended && life.is_settled();
            if over {
                closed.push_back(life.epoch);
                topics += life.streams.len();
            }
            !over
        });
        while self.closed.len() > CLOSED_EPOCHS {
            self.closed.pop_front();
        }
        topics
    }

    /// Whether something is missing that could still come.
    pub(super) fn wants(&self) -> bool {
        self.lives.iter().any(|life| !life.wanting.is_empty())
    }
}
