//! How long to wait before trying again. Every policy has a name and a reason.

use std::time::Duration;

/// A growing wait, with jitter, so that many clients do not come back at the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    noise: u64,
}

impl Backoff {
    /// Connecting to a generator: at once after a restart of its service, soon after a reboot. A host that is
    /// away for good costs a SYN every five seconds.
    pub fn connect() -> Self {
        Backoff::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// Asking for missed frames again: at once when a request got lost on the way, seldom when nobody answers, since what is
    /// missing is not lost before the ring is outrun.
    pub fn recover() -> Self {
        Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// Doubles from `first` to `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Backoff { first, longest, next: first, noise: u64::from(std::process::id()) | 1 }
    }

    /// How long to wait this time: between half and all of the current step.
    #[must_use]
    pub fn wait(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.longest);
        // xorshift64 (Marsaglia 2003): jitter needs no better.
        self.noise ^= self.noise << 13;
        self.noise ^= self.noise >> 7;
        self.noise ^= self.noise << 17;
        step / 2 + (step / 2).mul_f64((self.noise % 1024) as f64 / 1024.0)
    }

    /// It worked: begin anew next time.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for step in [100, 200, 400, 800, 1000, 1000] {
            let wait = backoff.wait();
            assert!(
                wait >= Duration::from_millis(step / 2) && wait <= Duration::from_millis(step),
                "{wait:?} of {step}"
            );
        }
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }
}
