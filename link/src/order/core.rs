//! The state machine: what arrives, and what is handed out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use zonescope_proto::{Topic, ZoneName};

use super::host::{Host, Life, Origin};
use super::patience::FORGET_EVERY;
use super::stream::{Fate, MAX_SEQUENCE};
use super::{Gap, Item, MAX_TOPICS, Note, Options, Output, SessionId};

/// A pause between frames counts for no more than this, or two intervals, on the clock of a host's life.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Which epoch of each host came last.
    pub(super) current: HashMap<String, u64>,
    pub(super) connected: bool,
    /// Where recovery is: not known yet, nowhere, there.
    pub(super) port: Option<Option<u16>>,
    pub(super) busy: bool,
}

/// The state machine.
#[derive(Debug)]
pub struct Core<T> {
    pub(super) options: Options,
    pub(super) zones: HashSet<String>,
    pub(super) sessions: Vec<Session>,
    pub(super) hosts: BTreeMap<String, Host<T>>,
    pub(super) ready: VecDeque<Output<T>>,
    pub(super) notes: VecDeque<Note>,
    pub(super) held_bytes: usize,
    pub(super) topics: usize,
    pub(super) next_id: u64,
    pub(super) tick_at: Duration,
    pub(super) forget_at: Duration,
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
                host.lives.push(Life::new(*epoch, Origin::Resumed, Duration::ZERO));
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
        let longest = LONGEST_PAUSE.max(item.interval() * 2);
        let (host_id, epoch) = (item.topic().host_id.as_str(), item.epoch());
        if !self.hosts.contains_key(host_id) {
            if self.topics >= MAX_TOPICS {
                return false;
            }
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
        self.take(item, Some(session), now) != Fate::Duplicate
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
        let (alive, now) = (host.alive, host.contact);
        let mut later_is_known = false;
        for life in host.lives.iter_mut().rev() {
            let spoken_of = self.sessions.iter().any(|s| s.current.get(host_id) == Some(&life.epoch));
            if !spoken_of || current == Some(life.epoch) {
                self.topics += life.end(alive, now, !later_is_known);
            }
            later_is_known |= life.streams.contains_key("");
        }
        if known.is_none() {
            let followed = !closed
                && (current.is_some_and(|current| current != epoch) || host.lives.iter().any(|life| life.ended));
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

    /// Puts a frame in its place. `session`: by which connection it came; `None` where it was asked for. What is none of ours
    /// counts as a duplicate.
    pub(super) fn take(&mut self, item: T, session: Option<SessionId>, now: Duration) -> Fate {
        let (topic, epoch, sequence) = (item.topic().clone(), item.epoch(), item.sequence());
        let zone = topic.zone.as_str();
        let Some(host) = self.hosts.get_mut(&topic.host_id) else { return Fate::Duplicate };
        let Some(index) = host.position(epoch) else { return Fate::Duplicate };
        if sequence == 0 || sequence > MAX_SEQUENCE {
            return Fate::Duplicate;
        }
        let life = &mut host.lives[index];
        if !life.streams.contains_key(zone) {
            if session.is_none() || self.topics >= MAX_TOPICS {
                return Fate::Duplicate;
            }
            life.begin(zone, Some(sequence), 0, now);
            self.topics += 1;
        }
        if zone.is_empty() {
            self.announced(&item, session, now);
        }

        let room = self.held_bytes < self.options.buffer_bytes;
        let Some(host) = self.hosts.get_mut(&topic.host_id) else { return Fate::Duplicate };
        let Some(index) = host.position(epoch) else { return Fate::Duplicate };
        let flows = !host.must_wait(index, zone);
        let (alive, life) = (host.alive, &mut host.lives[index]);
        let Some(stream) = life.streams.get_mut(zone) else { return Fate::Duplicate };
        let (fate, cost) = stream.arrive(sequence, item, room, flows, now);
        self.held_bytes += cost;
        life.note(zone, alive);
        if zone.is_empty() {
            self.without_recovery(&topic.host_id);
        }
        if fate == Fate::NoRoom {
            self.make_room(&topic.host_id);
        }
        // The end of a tick may free what waits, even if it finds no room itself.
        if zone.is_empty() {
            self.settle(&topic.host_id);
        } else if fate == Fate::Taken {
            self.hand_out(&topic.host_id, epoch, zone);
        }
        fate
    }

    /// What a host frame tells, besides being one.
    fn announced(&mut self, item: &T, session: Option<SessionId>, now: Duration) {
        let Some(host) = self.hosts.get_mut(&item.topic().host_id) else { return };
        if session.is_some() {
            self.topics += host.insert_kept(item.epoch(), item.kept_epochs());
        }
        let Some(index) = host.position(item.epoch()) else { return };
        let alive = host.alive;
        host.lives[index].look_back = host.lives[index].look_back.filter(|back| *back > item.sequence());
        for (zone, last) in item.announced() {
            let ours = self.zones.is_empty() || self.zones.contains(zone);
            if !ours || zone.is_empty() {
                continue;
            }
            let is_over = host.is_over(index, zone);
            let life = &mut host.lives[index];
            if !life.streams.contains_key(zone) {
                // A frame that was asked for tells of a time before we joined.
                if is_over || self.topics >= MAX_TOPICS || (session.is_none() && life.is_being_joined()) {
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
        let life = &mut host.lives[index];
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

    /// Hands out what is next in one topic, and then in the epochs that waited for it.
    fn hand_out(&mut self, host_id: &str, epoch: u64, zone: &str) {
        let Some(host) = self.hosts.get(host_id) else { return };
        let (first, lives) = (host.position(epoch), host.lives.len());
        for index in first.unwrap_or(lives)..lives {
            if !self.hand_out_of(host_id, index, zone) {
                return;
            }
        }
    }

    /// Hands out what is next in one topic of one life. False where it must wait.
    fn hand_out_of(&mut self, host_id: &str, index: usize, zone: &str) -> bool {
        let Some(host) = self.hosts.get_mut(host_id) else { return false };
        if host.must_wait(index, zone) {
            return false;
        }
        let (alive, life) = (host.alive, &mut host.lives[index]);
        let Some(stream) = life.streams.get_mut(zone) else { return true };
        let gap = |first, last, reason| {
            let topic = Topic { zone: zone.to_owned(), host_id: host_id.to_owned() };
            Output::Gap(Gap { topic, epoch: life.epoch, first, last, reason })
        };
        self.held_bytes -= stream.hand_out(gap, &mut self.ready);
        life.note(zone, alive);
        true
    }

    /// Hands out what can be, of all topics of a host: epoch by epoch, the host's own topic last; takes ended epochs off
    /// the list.
    pub(super) fn settle(&mut self, host_id: &str) {
        let Some(host) = self.hosts.get(host_id) else { return };
        for index in 0..host.lives.len() {
            let Some(life) = self.hosts.get(host_id).and_then(|host| host.lives.get(index)) else { return };
            let unsettled = life.streams.iter().filter(|(_, stream)| !stream.is_settled());
            let zones: BTreeSet<Arc<str>> = unsettled.map(|(zone, _)| Arc::clone(zone)).collect();
            // The empty name comes first, and is the host's.
            for zone in zones.iter().rev() {
                self.hand_out_of(host_id, index, zone);
            }
        }
        if let Some(host) = self.hosts.get_mut(host_id) {
            self.topics -= host.close_settled();
        }
    }
}
