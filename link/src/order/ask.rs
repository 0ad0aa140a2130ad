//! Asking for what is missing, and what the answers tell.

use std::time::Duration;

use zonescope_proto::limits::MAX_RANGES;
use zonescope_proto::v1::Absence;

use super::core::Core;
use super::host::{Asked, Host, Life};
use super::patience::TICK;
use super::stream::Fate;
use super::{Answer, Fetch, Item, Reason, SessionId};

/// After an answer that told nothing new the next question waits so long.
const ASK_AGAIN: Duration = Duration::from_millis(200);

impl<T: Item> Core<T> {
    /// An answer has come.
    pub fn answered(&mut self, session: SessionId, id: u64, answer: Answer<T>, now: Duration) {
        let Some((host_id, asked)) = self.answer_to(session, id) else { return };
        if let Some(host) = self.hosts.get_mut(&host_id) {
            host.contact = now;
            host.ask_after = now + answer.wait.unwrap_or_default();
        }
        // A frame for which there is no room yet is no news, but nothing to lose patience over.
        let (mut news, mut answers) = (false, false);
        for item in answer.frames {
            if item.epoch() == asked.epoch && item.topic().host_id == host_id {
                let fate = self.take(item, None, now);
                news |= fate == Fate::Taken;
                answers |= fate != Fate::Duplicate;
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
            if news || answers {
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

    /// A connection by which a host can be asked now, and the port.
    fn open_session(&self, host: &Host<T>) -> Option<(SessionId, u16)> {
        host.sessions.iter().find_map(|s| {
            let session = &self.sessions[*s];
            let port = session.port.flatten()?;
            (session.connected && !session.busy).then_some((*s, port))
        })
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
}

/// Takes note that numbers of a topic will never come. True where that was news.
fn absent<T: Item>(life: &mut Life<T>, zone: &str, first: u64, last: u64, absence: Absence) -> bool {
    let farewell = life.farewell;
    if zone.is_empty() {
        life.look_back = life.look_back.filter(|back| !(first..=last).contains(back));
    }
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
