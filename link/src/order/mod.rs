//! The order of things: out of frames that come late, twice, in disorder or never, a stream in which each number of
//! each topic is, in order, either a frame or part of an explicit gap with its reason.
//!
//! [`Core`] is a state machine without socket or clock. In go frames as they arrive, answers to requests, lost
//! connections, and the time; out come frames, gaps, and requests to be sent. What surrounds it ([`crate::subscribe`])
//! only moves bytes, so that a model can try every disorder that a network can make (tests/order.rs).
//!
//! # How it works
//! A topic has a number that is handed out next. A frame with that number leaves at once, whatever other topics wait
//! for. A later one waits; what lies between is missing, and is asked for at the recovery port that the host
//! frame announces. The host frame also tells the last number of every topic, so that even the loss of a zone's last
//! frame is seen. Each request asks for everything that is missing, topics in turn; one request a host is under way. An
//! answer brings frames, or says why they will never come: that is a gap.
//!
//! Frames that wait are bounded by [`Options::buffer_bytes`]. When they are too many, newcomers that would have to wait are
//! let go and asked for again later: the generator's ring is the larger buffer.
//!
//! A gap is given up when its host, though alive, has told us nothing for [`Options::give_up`]. That time is measured
//! on the clock of the host's life, which runs only while its frames arrive: a cut link or a stopped generator
//! ages nothing. Whoever is not heard of at all for [`Options::abandon`] is given up altogether.
//!
//! # What happens when
//! Each line is a test of that name in tests/order.rs.
//!
//! | event | outcome |
//! |---|---|
//! | we join a running generator | topics begin with what comes first; nothing earlier is missed |
//! | we resume | from the position given. Topics that came meanwhile: from number 1 |
//! | new epoch on a connection | the old one has ended. What is missing of it is asked for, then the new one is handed out, from number 1 |
//! | restart without spool | what is missing of the old epoch is a gap, [`Reason::Restarted`]; unless the old one took leave (SIGTERM), one more gap without end on the host's topic says that nobody knows what else there was |
//! | restart with spool | the missing end of the old epoch is recovered; after a crash the gap without end stays, since frames may have died with the process |
//! | another host at the same address | the new host is a host of its own. What is missing of the old one is a gap, [`Reason::Replaced`] |
//! | two generators with one host id | two epochs side by side, each complete and in order; a warning |
//! | the same generator by two addresses | each frame once |
//! | a clock that jumps | nothing: an epoch is a name, and which one is new is known from where it comes, not from its value |
//! | a zone that ended | its last frames are recovered by the announcements; then its topic is silent, and forgotten |
//! | a zone that comes back after half an hour | its numbers go on above all those that were forgotten, so that none comes twice |
//! | no recovery port | gaps at once, [`Reason::NoRecovery`] |

mod host;
mod stream;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use zonescope_proto::limits::MAX_RANGES;
use zonescope_proto::v1::Absence;
use zonescope_proto::{Topic, ZoneName};

use host::{Asked, Host, Life, Origin};
use stream::{Fate, MAX_SEQUENCE, Stream};

/// A connection to one endpoint, by its number.
pub type SessionId = usize;

/// Topics that are followed at most. A peer that makes up more is not listened to.
pub const MAX_TOPICS: usize = 1 << 18;

/// A topic of which nothing was heard for so long is forgotten. Its generator forgot it earlier: see
/// [`crate::publish::FORGET_AFTER`].
const FORGET_AFTER: Duration = Duration::from_secs(2 * 3600);

/// How often to look for what can be forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// A pause between frames counts for no more than this, or two intervals, on the clock of a host's life.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// After an answer that told nothing new the next question waits so long.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// With the buffer full, a recovery that has told nothing for so long is not waited for any more.
const PATIENCE_WHEN_FULL: Duration = Duration::from_secs(5);

/// How often to look for whom not to wait for, while the buffer is full.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How often to look for what is to be given up.
const TICK: Duration = Duration::from_millis(100);

/// Why frames are missing for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The generator kept them no more: its ring was outrun.
    Evicted,
    /// The generator that had them is gone, and the one that runs now has not kept them.
    Restarted,
    /// Another host answers at that address.
    Replaced,
    /// The generator serves no recovery.
    NoRecovery,
    /// Recovery did not answer until the time to give up.
    Unreachable,
}

impl Reason {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Evicted => "evicted",
            Reason::Restarted => "restarted",
            Reason::Replaced => "replaced",
            Reason::NoRecovery => "no_recovery",
            Reason::Unreachable => "unreachable",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Consecutive numbers of one topic that will never come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Of which topic.
    pub topic: Topic,
    /// Of which epoch.
    pub epoch: u64,
    /// The first number that is missing.
    pub first: u64,
    /// The last; `u64::MAX` where the epoch ended and nobody knows with which number.
    pub last: u64,
    /// Why.
    pub reason: Reason,
}

impl Gap {
    /// How many frames are missing; `None` where nobody knows.
    pub fn count(&self) -> Option<u64> {
        (self.last != u64::MAX).then(|| self.last - self.first + 1)
    }
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<T> {
    /// A frame, in its place.
    Frame(T),
    /// Numbers that will never come, in their place.
    Gap(Gap),
}

/// What the core must know of a frame.
pub trait Item {
    /// Its topic.
    fn topic(&self) -> &Topic;
    /// Its epoch.
    fn epoch(&self) -> u64;
    /// Its number.
    fn sequence(&self) -> u64;
    /// What it takes in memory while it waits.
    fn bytes(&self) -> usize;
    /// From now on it waits: it may make itself small. Nothing but its place is asked of it after that.
    fn wait(&mut self) {}
    /// In a host frame: zones and their last numbers.
    fn announced(&self) -> impl Iterator<Item = (&str, u64)>;
    /// In a host frame: where missed frames can be asked for.
    fn recovery_port(&self) -> Option<u16>;
    /// In a host frame: the last of its epoch.
    fn farewell(&self) -> bool;
    /// Time from tick to tick.
    fn interval(&self) -> Duration;
}

/// A request to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// By which endpoint.
    pub session: SessionId,
    /// To which port of it.
    pub port: u16,
    /// What the answer will repeat.
    pub id: u64,
    /// Whose frames.
    pub host_id: String,
    /// Of which epoch.
    pub epoch: u64,
    /// Zone, first number, last number (`u64::MAX`: to the end).
    pub ranges: Vec<(Arc<str>, u64, u64)>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// Frames, in the order of the answer.
    pub frames: Vec<T>,
    /// Zone, first and last number, and why they will never come.
    pub missing: Vec<(String, u64, u64, Absence)>,
    /// The generator asks for patience.
    pub wait: Option<Duration>,
}

/// What somebody should read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A generator started anew.
    Restarted {
        /// On which host.
        host_id: String,
        /// Whether the old one took leave.
        in_order: bool,
    },
    /// Two generators say that they are the same host.
    Two {
        /// Which.
        host_id: String,
    },
    /// What a host misses was given up.
    GaveUp {
        /// Which.
        host_id: String,
        /// Why.
        reason: Reason,
    },
}

/// How patient to be, and how much to remember.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most bytes of frames that wait for earlier ones.
    pub buffer_bytes: usize,
    /// A gap is given up when its host is alive and tells nothing about it for so long.
    pub give_up: Duration,
    /// Everything is given up of a host that is silent for so long.
    pub abandon: Duration,
}

impl Default for Options {
    /// 64 MiB, 30 seconds, 15 minutes: what a ring of the default age had of the gap is gone then.
    fn default() -> Self {
        Options { buffer_bytes: 64 << 20, give_up: Duration::from_secs(30), abandon: Duration::from_secs(15 * 60) }
    }
}

/// What is known of a connection.
#[derive(Debug, Default)]
struct Session {
    /// Which epoch of each host came last.
    current: HashMap<String, u64>,
    connected: bool,
    /// Where recovery is: not known yet, nowhere, there.
    port: Option<Option<u16>>,
    busy: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct Core<T> {
    options: Options,
    zones: HashSet<String>,
    sessions: Vec<Session>,
    hosts: BTreeMap<String, Host<T>>,
    ready: VecDeque<Output<T>>,
    notes: VecDeque<Note>,
    held_bytes: usize,
    topics: usize,
    next_id: u64,
    tick_at: Duration,
    forget_at: Duration,
}

impl<T: Item> Core<T> {
    /// A core for `sessions` connections and these zones (none: all), which goes on where `resume` says: the epoch and
    /// the number of each topic that was handed out last.
    pub fn new(
        options: Options,
        sessions: usize,
        zones: &[ZoneName],
        resume: &HashMap<Topic, (u64, u64)>,
        now: Duration,
    ) -> Self {
        let mut core = Core {
            options,
            zones: zones.iter().map(ZoneName::to_string).collect(),
            sessions: (0..sessions).map(|_| Session::default()).collect(),
            hosts: BTreeMap::new(),
            ready: VecDeque::new(),
            notes: VecDeque::new(),
            held_bytes: 0,
            topics: 0,
            next_id: 1,
            tick_at: now,
            forget_at: now + FORGET_EVERY,
        };
        let mut resume: Vec<_> = resume.iter().collect();
        // Earlier epochs hand out first. Where a clock was set back between them the order is wrong, which
        // matters only to topics that miss something of both.
        resume.sort_by_key(|(topic, (epoch, _))| (*epoch, *topic));
        for (topic, (epoch, sequence)) in resume {
            let host = core.hosts.entry(topic.host_id.clone()).or_insert_with(|| Host::new(now));
            if host.position(*epoch).is_none() {
                host.lives.push(Life::new(*epoch, Origin::Followed, Duration::ZERO));
            }
            if let Some(life) = host.lives.last_mut() {
                life.resume(&topic.zone, *sequence, now);
                core.topics += 1;
            }
        }
        core
    }

    /// What is ready to be handed out.
    pub fn pop(&mut self) -> Option<Output<T>> {
        self.ready.pop_front()
    }

    /// What somebody should read.
    pub fn note(&mut self) -> Option<Note> {
        self.notes.pop_front()
    }

    /// Bytes of frames that wait for earlier ones.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// What has been taken out by [`Core::pop`]: epoch and number of each topic. From there another core can resume.
    pub fn positions(&self) -> HashMap<Topic, (u64, u64)> {
        let mut positions = HashMap::new();
        for (host_id, host) in &self.hosts {
            for life in &host.lives {
                // Of a topic in two epochs: the later one, once it has begun.
                for (zone, stream) in life.streams.iter().filter(|(_, stream)| stream.handed_out() > 0) {
                    let topic = Topic { zone: zone.to_string(), host_id: host_id.clone() };
                    positions.insert(topic, (life.epoch, stream.handed_out()));
                }
            }
        }
        for output in self.ready.iter().rev() {
            let (topic, epoch, first) = match output {
                Output::Frame(item) => (item.topic(), item.epoch(), item.sequence()),
                Output::Gap(gap) => (&gap.topic, gap.epoch, gap.first),
            };
            positions.insert(topic.clone(), (epoch, first - 1));
        }
        positions
    }

    /// A connection was made.
    pub fn connected(&mut self, session: SessionId) {
        self.sessions[session].connected = true;
    }

    /// A connection was lost. What it brought stays; who answers there next has to say so.
    pub fn lost(&mut self, session: SessionId) {
        let session = &mut self.sessions[session];
        session.connected = false;
        session.port = None;
    }

    /// A frame was received. False where it had come before, or is none of ours.
    pub fn arrived(&mut self, session: SessionId, item: T, now: Duration) -> bool {
        if self.topics >= MAX_TOPICS {
            return false;
        }
        let longest = LONGEST_PAUSE.max(item.interval() * 2);
        let (host_id, epoch) = (item.topic().host_id.as_str(), item.epoch());
        if !self.hosts.contains_key(host_id) {
            self.hosts.insert(host_id.to_owned(), Host::new(now));
        }
        let Some(host) = self.hosts.get_mut(host_id) else { return false };
        host.hear(now, longest);
        if !host.sessions.contains(&session) {
            host.sessions.push(session);
        }
        if !self.attend(session, host_id, epoch) {
            return false;
        }
        self.take(item, Some(session), now)
    }

    /// Makes sure that the epoch of a frame that came by `session` is followed. False where it is over.
    fn attend(&mut self, session: SessionId, host_id: &str, epoch: u64) -> bool {
        let Some(host) = self.hosts.get_mut(host_id) else { return false };
        let current = self.sessions[session].current.get(host_id).copied();
        let known = host.position(epoch);
        let closed = host.closed.contains(&epoch);
        if current == Some(epoch) && (known.is_some() || closed) {
            if known.is_some_and(|i| i + 1 < host.lives.len() && !host.lives[i].ended) && !host.told_of_two {
                host.told_of_two = true;
                self.notes.push_back(Note::Two { host_id: host_id.to_owned() });
            }
            return known.is_some();
        }
        self.sessions[session].current.insert(host_id.to_owned(), epoch);
        // Over is what this connection brought before, for its process is gone; and what no connection speaks of: what we
        // resumed from.
        let alive = host.alive;
        for life in host.lives.iter_mut().filter(|life| life.epoch != epoch) {
            let spoken_of = self.sessions.iter().any(|s| s.current.get(host_id) == Some(&life.epoch));
            if !spoken_of || current == Some(life.epoch) {
                end(life, alive);
            }
        }
        if known.is_none() {
            let followed = !closed && (current.is_some_and(|current| current != epoch) || !host.lives.is_empty());
            if followed {
                let in_order = host.lives.iter().all(|life| life.farewell || !life.ended);
                self.notes.push_back(Note::Restarted { host_id: host_id.to_owned(), in_order });
            }
            // An epoch that was over and is back is joined anew: two generators take turns at one address.
            host.closed.retain(|closed| *closed != epoch);
            let origin = if followed { Origin::Followed } else { Origin::Joined };
            host.lives.push(Life::new(epoch, origin, alive));
        }
        self.settle(host_id);
        true
    }

    /// Puts a frame in its place. `session`: by which connection it came; `None` where it was asked for.
    fn take(&mut self, item: T, session: Option<SessionId>, now: Duration) -> bool {
        let (topic, epoch, sequence) = (item.topic().clone(), item.epoch(), item.sequence());
        let zone = topic.zone.as_str();
        let Some(host) = self.hosts.get_mut(&topic.host_id) else { return false };
        let Some(index) = host.position(epoch) else { return false };
        if sequence == 0 || sequence > MAX_SEQUENCE {
            return false;
        }
        let life = &mut host.lives[index];
        if !life.streams.contains_key(zone) {
            if session.is_none() {
                return false;
            }
            life.begin(zone, Some(sequence), 0, now);
            self.topics += 1;
        }
        if zone.is_empty() {
            self.announced(&item, index, session, now);
        }

        let room = self.held_bytes < self.options.buffer_bytes;
        let Some(host) = self.hosts.get_mut(&topic.host_id) else { return false };
        let (alive, life) = (host.alive, &mut host.lives[index]);
        let Some(stream) = life.streams.get_mut(zone) else { return false };
        let (fate, cost) = stream.arrive(sequence, item, room, now);
        self.held_bytes += cost;
        life.note(zone, alive);
        if zone.is_empty() {
            self.without_recovery(&topic.host_id);
        }
        match fate {
            Fate::Duplicate => return false,
            Fate::NoRoom => {
                self.make_room(&topic.host_id);
                return session.is_some();
            }
            Fate::Taken => {}
        }
        // The end of a tick may free what waits in other epochs.
        if zone.is_empty() && self.hosts.get(&topic.host_id).is_some_and(|host| host.lives.len() > 1) {
            self.settle(&topic.host_id);
        } else {
            self.hand_out(&topic.host_id, epoch, zone);
        }
        true
    }

    /// What a host frame tells, besides being one. Its life is at `index`.
    fn announced(&mut self, item: &T, index: usize, session: Option<SessionId>, now: Duration) {
        let Some(host) = self.hosts.get_mut(&item.topic().host_id) else { return };
        let (alive, life) = (host.alive, &mut host.lives[index]);
        for (zone, last) in item.announced() {
            let ours = self.zones.is_empty() || self.zones.contains(zone);
            if !ours || zone.is_empty() {
                continue;
            }
            if !life.streams.contains_key(zone) {
                // A frame that was asked for tells of a time before we joined.
                if self.topics >= MAX_TOPICS || (session.is_none() && life.is_being_joined()) {
                    continue;
                }
                life.begin(zone, None, last, now);
                self.topics += 1;
            }
            if let Some(stream) = life.streams.get_mut(zone) {
                stream.sent(last, now);
            }
            life.note(zone, alive);
        }
        if item.farewell() {
            life.farewell = true;
            let zones: Vec<Arc<str>> = life.streams.keys().cloned().collect();
            for zone in zones {
                if let Some(stream) = life.streams.get_mut(&zone) {
                    stream.end_is_known();
                }
                life.note(&zone, alive);
            }
        }
        if let Some(session) = session {
            life.baseline = true;
            self.sessions[session].port = Some(item.recovery_port());
        }
    }

    /// Gives up at once what nobody could be asked for.
    fn without_recovery(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get(host_id) else { return };
        let mut open = host.sessions.iter().map(|s| &self.sessions[*s]).filter(|session| session.connected);
        if host.wants() && open.all(|session| session.port == Some(None)) {
            self.give_up(host_id, Reason::NoRecovery, |_, _| true);
        }
    }

    /// The buffer is full. Who is known to answer will bring again what is let go; who is not is not waited for.
    fn make_room(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else { return };
        let alive = host.alive;
        if alive < host.look_again {
            return;
        }
        host.look_again = alive + LOOK_AGAIN;
        let silent = |life: &Life<T>, stream: &Stream<T>| {
            let since = stream.waits_since.unwrap_or(alive).max(life.progress);
            alive.saturating_sub(since) > PATIENCE_WHEN_FULL
        };
        self.give_up(host_id, Reason::Unreachable, silent);
    }

    /// An answer has come.
    pub fn answered(&mut self, session: SessionId, id: u64, answer: Answer<T>, now: Duration) {
        let Some((host_id, asked)) = self.answer_to(session, id) else { return };
        if let Some(host) = self.hosts.get_mut(&host_id) {
            host.contact = now;
            host.ask_after = now + answer.wait.unwrap_or_default();
        }
        let mut news = false;
        for item in answer.frames {
            if item.epoch() == asked.epoch && item.topic().host_id == host_id {
                news |= self.take(item, None, now);
            }
        }
        if let Some(host) = self.hosts.get_mut(&host_id)
            && let Some(index) = host.position(asked.epoch)
        {
            let (alive, life) = (host.alive, &mut host.lives[index]);
            for (zone, first, last, absence) in &answer.missing {
                news |= absent(life, zone, *first, *last, *absence);
                life.note(zone, alive);
            }
            if news {
                life.progress = alive;
            }
        }
        if !news
            && answer.wait.is_none()
            && let Some(host) = self.hosts.get_mut(&host_id)
        {
            host.ask_after = now + ASK_AGAIN;
        }
        self.settle(&host_id);
    }

    /// A request was not answered.
    pub fn failed(&mut self, session: SessionId, id: u64) {
        self.answer_to(session, id);
    }

    /// The request that `id` was, which is no longer under way.
    fn answer_to(&mut self, session: SessionId, id: u64) -> Option<(String, Asked)> {
        let (host_id, host) =
            self.hosts.iter_mut().find(|(_, host)| host.asked.is_some_and(|a| (a.session, a.id) == (session, id)))?;
        self.sessions[session].busy = false;
        host.asked.take().map(|asked| (host_id.clone(), asked))
    }

    /// The next request that should be sent now.
    pub fn fetch(&mut self, now: Duration) -> Option<Fetch> {
        let (host_id, (session, port)) = self.hosts.iter().find_map(|(host_id, host)| {
            let may = host.asked.is_none() && now >= host.ask_after && host.wants();
            Some((host_id.clone(), may.then(|| self.open_session(host))??))
        })?;
        let host = self.hosts.get_mut(&host_id)?;
        let lives = host.lives.len();
        let index = (0..lives).map(|i| (host.turn + i) % lives).find(|i| !host.lives[*i].wanting.is_empty())?;
        host.turn = index + 1;
        let life = &mut host.lives[index];
        let ranges = life.ranges(MAX_RANGES);
        let id = self.next_id;
        self.next_id += 1;
        self.sessions[session].busy = true;
        host.asked = Some(Asked { session, id, epoch: life.epoch });
        Some(Fetch { session, port, id, host_id, epoch: life.epoch, ranges })
    }

    /// Time has passed, and nothing that arrived before `now` is still on its way in.
    pub fn tick(&mut self, now: Duration) {
        if now < self.tick_at {
            return;
        }
        self.tick_at = now + TICK;
        let options = self.options;
        let hosts: Vec<String> = self.hosts.iter().filter(|(_, h)| h.wants()).map(|(id, _)| id.clone()).collect();
        for host_id in hosts {
            let Some(host) = self.hosts.get(&host_id) else { continue };
            let alive = host.alive;
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

    /// When [`Core::fetch`] or [`Core::tick`] will next have something to do, if nothing arrives.
    pub fn deadline(&self) -> Option<Duration> {
        let of_host = |host: &Host<T>| {
            let abandon = (host.contact + self.options.abandon + TICK).max(self.tick_at);
            let ask = (host.asked.is_none() && self.open_session(host).is_some()).then_some(host.ask_after);
            ask.map_or(abandon, |ask| ask.min(abandon))
        };
        self.hosts.values().filter(|host| host.wants()).map(of_host).min()
    }

    /// A connection by which a host can be asked now, and the port.
    fn open_session(&self, host: &Host<T>) -> Option<(SessionId, u16)> {
        host.sessions.iter().find_map(|s| {
            let session = &self.sessions[*s];
            let port = session.port.flatten()?;
            (session.connected && !session.busy).then_some((*s, port))
        })
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

    /// Hands out what is next in one topic, and then in the epochs that waited for it.
    fn hand_out(&mut self, host_id: &str, epoch: u64, zone: &str) {
        let Some(host) = self.hosts.get_mut(host_id) else { return };
        let Some(first) = host.position(epoch) else { return };
        for index in first..host.lives.len() {
            if host.must_wait(index, zone) {
                return;
            }
            let epoch = host.lives[index].epoch;
            let Some(stream) = host.lives[index].streams.get_mut(zone) else { continue };
            let gap = |first, last, reason| {
                let topic = Topic { zone: zone.to_owned(), host_id: host_id.to_owned() };
                Output::Gap(Gap { topic, epoch, first, last, reason })
            };
            self.held_bytes -= stream.hand_out(gap, &mut self.ready);
            let (alive, life) = (host.alive, &mut host.lives[index]);
            life.note(zone, alive);
        }
    }

    /// Hands out what can be, of all topics of a host, its own last; takes ended epochs off the list.
    fn settle(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get(host_id) else { return };
        let Some(first) = host.lives.first().map(|life| life.epoch) else { return };
        let mut zones: BTreeSet<Arc<str>> = BTreeSet::new();
        for life in &host.lives {
            zones.extend(life.streams.iter().filter(|(_, s)| !s.is_settled()).map(|(zone, _)| Arc::clone(zone)));
        }
        // The empty name comes first, and is the host's.
        for zone in zones.iter().rev() {
            self.hand_out(host_id, first, zone);
        }
        if let Some(host) = self.hosts.get_mut(host_id) {
            self.topics -= host.close_settled();
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

/// The generator of this epoch has ended.
fn end<T: Item>(life: &mut Life<T>, alive: Duration) {
    if life.ended {
        return;
    }
    life.ended = true;
    life.progress = alive;
    if life.farewell {
        return;
    }
    let zones: Vec<Arc<str>> = life.streams.keys().cloned().collect();
    for zone in zones {
        if let Some(stream) = life.streams.get_mut(&zone) {
            stream.end();
        }
        life.note(&zone, alive);
    }
}

/// Takes note that numbers of a topic will never come. True where that was news.
fn absent<T: Item>(life: &mut Life<T>, zone: &str, first: u64, last: u64, absence: Absence) -> bool {
    let farewell = life.farewell;
    let Some(stream) = life.streams.get_mut(zone) else { return false };
    let reason = match absence {
        Absence::NeverSent => None,
        Absence::Evicted | Absence::Unspecified => Some(Reason::Evicted),
        Absence::EndOfEpoch | Absence::UnknownEpoch => Some(Reason::Restarted),
        Absence::OtherHost => Some(Reason::Replaced),
    };
    let news = stream.never(first, last, reason);
    if last == u64::MAX && stream.is_open() {
        let tell = reason.filter(|_| zone.is_empty() && !farewell);
        return stream.end_is_lost(tell) || news;
    }
    news
}
