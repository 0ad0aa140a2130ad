//! Who may ask for how much.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::Bounds;
use crate::tally::Tally;

/// A bucket that fills at a rate up to what a second brings, and may be overdrawn once.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    rate: f64,
    at: Duration,
}

impl Bucket {
    fn full(rate: f64, now: Duration) -> Self {
        Bucket { level: rate, rate, at: now }
    }

    fn fill(&mut self, now: Duration) {
        self.level = (self.level + self.rate * now.saturating_sub(self.at).as_secs_f64()).min(self.rate);
        self.at = now;
    }

    /// How long until something may be taken.
    fn wait(&self) -> Duration {
        if self.level > 0.0 { Duration::ZERO } else { Duration::from_secs_f64((1.0 - self.level) / self.rate) }
    }
}

/// What is remembered of a client.
#[derive(Debug)]
struct Client {
    requests: Bucket,
    bytes: Bucket,
    waiting: Tally,
    seen: Duration,
}

/// What may be done for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer with at most so many bytes.
    Answer(usize),
    /// Ask for patience.
    Wait(Duration),
    /// Not even that: the client does not listen, or does not take its answers.
    Ignore,
}

/// The budgets of all clients.
#[derive(Debug)]
pub struct Budget {
    bounds: Bounds,
    clients: HashMap<Bytes, Client>,
    total: Bucket,
    waiting: Tally,
}

/// A client that is over its requests by so many seconds' worth does not listen.
const DEAF_SECONDS: f64 = 2.0;

impl Budget {
    /// Full budgets.
    pub fn new(bounds: Bounds, now: Duration) -> Self {
        let total = Bucket::full(bounds.total_bytes_per_s, now);
        Budget { bounds, clients: HashMap::new(), total, waiting: Tally::default() }
    }

    /// A request has come.
    pub fn request(&mut self, client: &Bytes, now: Duration) -> Verdict {
        let bounds = self.bounds;
        if !self.clients.contains_key(client) {
            self.forget(now);
            let (requests, bytes) = (Bucket::full(bounds.requests_per_s, now), Bucket::full(bounds.bytes_per_s, now));
            self.clients.insert(client.clone(), Client { requests, bytes, waiting: Tally::default(), seen: now });
        }
        let Some(known) = self.clients.get_mut(client) else { return Verdict::Ignore };
        known.seen = now;
        self.total.fill(now);
        known.requests.fill(now);
        known.bytes.fill(now);
        known.requests.level = (known.requests.level - 1.0).max(-bounds.requests_per_s * (DEAF_SECONDS + 1.0));
        if known.requests.level < -bounds.requests_per_s * DEAF_SECONDS {
            return Verdict::Ignore;
        }
        if known.waiting.alive() > bounds.waiting_bytes {
            return Verdict::Ignore;
        }
        let wait = known.requests.wait().max(known.bytes.wait()).max(self.total.wait());
        if wait > Duration::ZERO {
            return Verdict::Wait(wait);
        }
        if self.waiting.alive() > bounds.total_waiting_bytes {
            return Verdict::Wait(Duration::from_secs(1));
        }
        Verdict::Answer(known.bytes.level.min(self.total.level) as usize)
    }

    /// The answer to a client, which counts until it is sent.
    pub fn answer(&mut self, client: &Bytes, answer: Vec<u8>) -> Bytes {
        let bytes = answer.len() as f64;
        self.total.level -= bytes;
        // Counted twice: for the client, and for all.
        let all = self.waiting.count(answer);
        match self.clients.get_mut(client) {
            Some(known) => {
                known.bytes.level -= bytes;
                known.waiting.hold(all)
            }
            None => all,
        }
    }

    /// Makes room for one more.
    fn forget(&mut self, now: Duration) {
        while self.clients.len() >= self.bounds.clients {
            let oldest = self.clients.iter().max_by_key(|(_, c)| now.saturating_sub(c.seen)).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.clients.remove(&oldest);
        }
    }

    /// Bytes that clients have not taken yet.
    pub fn waiting(&self) -> u64 {
        self.waiting.alive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn client(name: &'static str) -> Bytes {
        Bytes::from_static(name.as_bytes())
    }

    fn budget(bounds: Bounds) -> Budget {
        Budget::new(bounds, Duration::ZERO)
    }

    #[test]
    fn a_greedy_client_is_told_to_wait_then_ignored_and_others_are_served() {
        let mut budget = budget(Bounds { requests_per_s: 10.0, ..Bounds::default() });
        let (greedy, modest) = (client("greedy"), client("modest"));
        let mut verdicts = Vec::new();
        for _ in 0..100 {
            verdicts.push(budget.request(&greedy, S));
        }
        assert!(verdicts[..9].iter().all(|v| matches!(v, Verdict::Answer(_))), "{verdicts:?}");
        assert!(verdicts[10..25].iter().all(|v| matches!(v, Verdict::Wait(_))), "{verdicts:?}");
        assert!(verdicts[31..].iter().all(|v| *v == Verdict::Ignore), "{verdicts:?}");
        assert!(matches!(budget.request(&modest, S), Verdict::Answer(_)));
        assert!(matches!(budget.request(&greedy, 10 * S), Verdict::Answer(_)), "forgiven when it behaves");
    }

    #[test]
    fn bytes_are_paid_for_afterwards() {
        let mut budget = budget(Bounds { bytes_per_s: 1000.0, ..Bounds::default() });
        let a = client("a");
        assert!(matches!(budget.request(&a, S), Verdict::Answer(1000)));
        drop(budget.answer(&a, vec![0; 3000]));
        let Verdict::Wait(wait) = budget.request(&a, S) else { panic!() };
        assert!(wait > 2 * S && wait < 3 * S, "{wait:?}");
        assert!(matches!(budget.request(&a, S + wait + S), Verdict::Answer(_)));
    }

    #[test]
    fn who_takes_no_answers_gets_no_more() {
        let mut budget = budget(Bounds { waiting_bytes: 100, total_waiting_bytes: 150, ..Bounds::default() });
        let (a, b) = (client("a"), client("b"));
        let unsent = budget.answer_for_test(&a, 101);
        assert_eq!(budget.request(&a, S), Verdict::Ignore);
        assert!(matches!(budget.request(&b, S), Verdict::Answer(_)));
        let more = budget.answer_for_test(&b, 60);
        assert!(matches!(budget.request(&client("c"), S), Verdict::Wait(_)), "all together wait for too much");
        drop((unsent, more));
        assert!(matches!(budget.request(&a, S), Verdict::Answer(_)));
        assert_eq!(budget.waiting(), 0);
    }

    impl Budget {
        fn answer_for_test(&mut self, client: &Bytes, bytes: usize) -> Bytes {
            self.request(client, S);
            self.answer(client, vec![0; bytes])
        }
    }

    #[test]
    fn of_too_many_clients_the_most_silent_is_forgotten() {
        let mut budget = budget(Bounds { clients: 2, ..Bounds::default() });
        for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
            budget.request(&client(name), S * i as u32);
        }
        assert!(!budget.clients.contains_key("a".as_bytes()) && budget.clients.len() == 2);
    }
}
