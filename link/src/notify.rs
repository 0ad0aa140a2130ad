//! What systemd is told of us: that we are ready, that we live, that we leave (sd_notify(3)).
//!
//! "We live" is said by the program's main loop itself, as one of the things it waits for: a loop that hangs falls silent, and
//! systemd kills and restarts the program after the unit's `WatchdogSec`. Without systemd, and on illumos, where svc.startd(8)
//! watches processes only, nothing is said to anybody.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

/// The line to systemd. One a process, held by its main loop.
#[derive(Debug)]
pub struct Notify {
    beat: Option<Interval>,
}

/// What can be said.
#[derive(Debug, Clone, Copy)]
enum News {
    Starting,
    Ready,
    Alive,
    Leaving,
}

impl Notify {
    /// As systemd asks for in the environment: `NOTIFY_SOCKET`, `WATCHDOG_USEC`. Call it inside a tokio runtime.
    pub fn from_environment() -> Self {
        let beat = watchdog().map(|within| {
            // Twice as often as it must be, which sd_watchdog_enabled(3) asks for.
            let mut beat = tokio::time::interval(within / 2);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        });
        Notify { beat }
    }

    /// Starting takes longer: systemd is to wait for another half a minute.
    pub fn starting(&self) {
        tell(News::Starting);
    }

    /// From here on the program does what it is for.
    pub fn ready(&self) {
        tell(News::Ready);
    }

    /// Waits until it is time, says that we live, and returns; never, where no watchdog waits for it. Cancel-safe: an arm of the
    /// main loop's `select!`.
    pub async fn beat(&mut self) {
        match &mut self.beat {
            Some(beat) => {
                beat.tick().await;
                tell(News::Alive);
            }
            None => std::future::pending().await,
        }
    }

    /// Waits for `work`, saying meanwhile that we live: for waits that have no end of their own, such as for a full disk.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.beat() => {}
            }
        }
    }

    /// The program writes down what it holds, and ends.
    pub fn leaving(&self) {
        tell(News::Leaving);
    }
}

#[cfg(target_os = "linux")]
fn watchdog() -> Option<Duration> {
    // Nothing to wait for would be no interval.
    sd_notify::watchdog_enabled().filter(|within| *within >= Duration::from_micros(2))
}

#[cfg(not(target_os = "linux"))]
fn watchdog() -> Option<Duration> {
    None
}

#[cfg(target_os = "linux")]
fn tell(news: News) {
    use sd_notify::NotifyState;
    let state = match news {
        News::Starting => NotifyState::ExtendTimeoutUsec(30_000_000),
        News::Ready => NotifyState::Ready,
        News::Alive => NotifyState::Watchdog,
        News::Leaving => NotifyState::Stopping,
    };
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("cannot tell systemd {news:?}: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn tell(_: News) {}
