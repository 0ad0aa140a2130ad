//! Keeps one program running: a thread that starts its child, feeds on it, reaps it, and starts it again.
//!
//! The thread sleeps in poll(2), for [`LOOK`] at most; then it looks at orders, budget and clocks. Whatever the child
//! does, nobody else waits for it: a tick takes from the [`Mailbox`] what is there.
//!
//! | the child | what follows |
//! |---|---|
//! | ended by order | stopped; what END printed is delivered |
//! | went over its budget for the third time | disabled |
//! | names a probe or type that this host lacks, or does not compile, or may not run | unavailable; tried again by [`lacking`] |
//! | ended in any other way | started again by [`restart`]; disabled after [`FAILURES`] in a row |
//! | ends no interval for [`HUNG`] | killed, which is an end |
//!
//! A disabled program comes back with [`super::Dtrace::reload`] (SIGHUP).

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use zonescope_link::backoff::Backoff;

use super::budget::{Budget, Meter};
use super::feed::{End, Feed};
use super::limits::LOOK;
use super::mailbox::{Mailbox, State};
use super::program::{Program, mark};

/// A child that ended: soon, because a hole in the data grows by the second; ever slower, because each start compiles a
/// program and rewrites probe sites in the kernel.
fn restart() -> Backoff {
    Backoff::new(Duration::from_secs(1), Duration::from_secs(30))
}

/// A host that lacks a provider: a module may be loaded later (zfs, for one), but hardly soon.
fn lacking() -> Backoff {
    Backoff::new(Duration::from_secs(300), Duration::from_secs(3600))
}

/// Ends in a row that disable a program.
const FAILURES: u32 = 10;
/// A child that lived so long was no failure.
const HEALTHY: Duration = Duration::from_secs(60);

/// What all programs have in common.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The dtrace command.
    pub dtrace: PathBuf,
    /// Samples a second.
    pub sample_hz: u32,
    /// For each program.
    pub budget: Budget,
}

/// A program and the thread that keeps it running.
#[derive(Debug)]
pub struct Keeper {
    /// What it runs.
    pub program: Arc<Program>,
    /// Where its output and its fate are.
    pub mailbox: Arc<Mailbox>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts to keep `program` running.
    pub fn start(program: Program, setting: &Setting) -> Self {
        let (program, mailbox) = (Arc::new(program), Arc::new(Mailbox::default()));
        let work = Work { program: program.clone(), mailbox: mailbox.clone(), setting: setting.clone() };
        let thread = std::thread::Builder::new().name(format!("d:{}", program.name())).spawn(move || work.run());
        if let Err(error) = &thread {
            mailbox.error(&format!("no thread: {error}"));
            mailbox.update(|fare| fare.state = State::Disabled);
        }
        Keeper { program, mailbox, thread: thread.ok() }
    }

    /// Orders an end, without waiting for it.
    pub fn stop(&self, at_once: bool) {
        self.mailbox.order_stop(at_once);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether its thread is over: stopped, or disabled.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    program: Arc<Program>,
    mailbox: Arc<Mailbox>,
    setting: Setting,
}

impl Work {
    fn run(self) {
        let (mut soon, mut rarely, mut failures) = (restart(), lacking(), 0);
        let mut meter = Meter::new(self.setting.budget, Instant::now());
        while !self.mailbox.stopping() {
            let started = Instant::now();
            let end = self.live(&mut meter);
            if started.elapsed() >= HEALTHY {
                soon.reset();
                failures = 0;
            }
            let (state, reason, wait) = match end {
                End::Ordered => break,
                End::OverBudget(reason) => return self.rest(State::Disabled, reason),
                End::Lasting(reason) => (State::Unavailable, reason, rarely.wait()),
                End::Failed(reason) => {
                    failures += 1;
                    if failures >= FAILURES {
                        let reason = format!("{reason}; failed {failures} times in a row");
                        return self.rest(State::Disabled, reason);
                    }
                    (State::Waiting, reason, soon.wait())
                }
            };
            self.rest(state, reason);
            self.sleep(wait);
        }
        self.mailbox.update(|fare| (fare.state, fare.pid) = (State::Stopped, None));
    }

    /// One child, from its start to its end.
    fn live(&self, meter: &mut Meter) -> End {
        let mark = mark();
        self.mailbox.update(|fare| (fare.state, fare.starts) = (State::Starting, fare.starts + 1));
        let running = match self.program.start(&self.setting.dtrace, self.setting.sample_hz, &mark) {
            Ok(running) => running,
            Err(error) => {
                let text = format!("cannot start {}: {error}", self.setting.dtrace.display());
                self.mailbox.error(&text);
                return End::Failed(text);
            }
        };
        meter.restart(Instant::now());
        self.mailbox.update(|fare| fare.pid = Some(running.pid()));
        let end = Feed::new(running, &self.program, &mark, &self.setting.budget, &self.mailbox).run(meter);
        self.mailbox.update(|fare| fare.pid = None);
        end
    }

    fn rest(&self, state: State, reason: String) {
        tracing::warn!(program = self.program.name(), state = state.name(), reason, "D program is not running");
        self.mailbox.update(|fare| (fare.state, fare.reason) = (state, Some(reason)));
    }

    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.mailbox.stopping() {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            // Woken by stop(); never longer than a look, should the wake-up come just before.
            std::thread::park_timeout(left.min(LOOK * 4));
        }
    }
}
