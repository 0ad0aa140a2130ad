//! DTrace: how long, and who.
//!
//! Kernel statistics say how much. This source runs D programs and turns what they aggregate into families keyed by
//! zone: samples of CPUs by zone, core and process ([`v1::OnCpu`] and its sisters), events ([`v1::Event`]), latencies
//! ([`v1::Distribution`]), and whatever users' own programs count ([`v1::Custom`]).
//!
//! # Theory of operation
//! Each program is a child process of dtrace(8): never linked in, so that nothing it does can take the generator along.
//!
//! ```text
//!            dtrace child ──stdout──► lines ► reader ► intervals ─┐
//!  keeper ►                                                       ├► mailbox ──► tick: project ► sample
//!            (thread)     ──stderr──► complaints: drops, errors ──┘
//! ```
//!
//! * A **keeper** ([`keeper`]) is a thread that starts the child, **feeds** on it ([`feed`]) in poll(2), holds it to its
//!   **budget** ([`budget`]), reaps it and starts it again. It is the only one that ever waits.
//! * The built-in programs speak a **line protocol** ([`record`]); users' programs print as libdtrace does ([`printed`]).
//!   Both end each interval by a mark, so that an interval's aggregations are taken whole or not at all.
//! * A **mailbox** ([`mailbox`]) holds the last few whole intervals. A tick takes what is there and never waits: if dtrace
//!   is late the families are absent, which is not zero.
//! * Projecting ([`mod@project`], [`users`]) is pure.
//!
//! # What can go wrong, and what it costs
//! Nothing that a program prints can grow our memory: [`limits`] bounds lines, records, rows, buckets and waiting
//! intervals, and [`spawn`] explains why no child outlives us. A program that dies is restarted ever more slowly, one that
//! keeps dying or goes over its budget is disabled, one that lacks a provider is unavailable; the others go on. All of it
//! is in the frames of `global`: a row of `collect` for each program with its errors, its drops and the text of the last
//! error, and a row of `dtrace` with its state and what it costs.

pub mod budget;
pub mod check;
pub mod complaint;
pub mod feed;
pub mod gather;
pub mod header;
pub mod keeper;
pub mod limits;
pub mod lines;
pub mod mailbox;
pub mod options;
pub mod printed;
pub mod program;
pub mod project;
pub mod reader;
pub mod record;
mod report;
pub mod spawn;
pub mod table;
pub mod usage;
pub mod users;

use std::time::{Duration, Instant};

use zonescope_proto::v1;

pub use budget::Budget;
pub use check::{Checked, ProgramError, check};
pub use options::{DtraceOptions, ZoneOfPid};

use crate::source::{End, Sample, Source, Tick};
use keeper::{Keeper, Setting};
use program::{Program, builtin};

/// Runs D programs and puts what they see into samples. Ask it after the sources that find the zones.
#[derive(Debug)]
pub struct Dtrace {
    options: DtraceOptions,
    /// Nothing, where this host has no dtrace.
    setting: Option<Setting>,
    keepers: Vec<Keeper>,
    /// Ordered to end; their last words are still to come.
    retiring: Vec<Keeper>,
    /// Users' programs that cannot be run.
    wrong: Vec<ProgramError>,
}

impl Dtrace {
    /// Starts all programs. Returns at once; where there is no dtrace, or it is not wanted, it samples nothing.
    pub fn start(options: DtraceOptions) -> Self {
        let dtrace = if options.enabled { options.find_dtrace() } else { None };
        if options.enabled && dtrace.is_none() {
            tracing::info!("no dtrace command in /usr/sbin or $PATH: no D program runs");
        }
        let setting = dtrace.map(|dtrace| Setting {
            dtrace,
            sample_hz: options.sample_hz.clamp(*options::SAMPLE_HZ.start(), *options::SAMPLE_HZ.end()),
            budget: options.budget,
        });
        let mut source = Dtrace { options, setting, keepers: Vec::new(), retiring: Vec::new(), wrong: Vec::new() };
        source.reload();
        source
    }

    /// Whether this host has a dtrace command, and we may use it.
    pub fn is_available(&self) -> bool {
        self.setting.is_some()
    }

    /// Reads the users' programs again (SIGHUP): new ones start, changed ones restart, those that are gone end, and
    /// whatever was disabled gets another chance. What runs unchanged is not disturbed.
    pub fn reload(&mut self) {
        let Some(setting) = &self.setting else { return };
        let (users, wrong) = check::load_all(&self.options.user_dir);
        for error in &wrong {
            tracing::error!(%error, "a D program cannot be run");
        }
        self.wrong = wrong;
        let wanted = self.options.programs.as_ref();
        let is_wanted = |ours: &&program::Builtin| wanted.map_or(ours.by_default, |wanted| wanted.contains(ours.name));
        let programs: Vec<Program> = builtin().iter().filter(is_wanted).map(Program::Builtin).chain(users).collect();
        for keeper in std::mem::take(&mut self.keepers) {
            if programs.contains(&keeper.program) && !keeper.is_over() {
                self.keepers.push(keeper);
            } else {
                keeper.stop(false);
                self.retiring.push(keeper);
            }
        }
        for program in programs {
            if !self.keepers.iter().any(|keeper| *keeper.program == program) {
                self.keepers.push(Keeper::start(program, setting));
            }
        }
    }

    /// Ends all programs with SIGTERM, so that they print what they still hold, and waits for them up to `patience`; then
    /// they are killed. A last [`Source::sample`] afterwards brings what they printed.
    pub fn shutdown(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        let all = || self.keepers.iter().chain(&self.retiring);
        all().for_each(|keeper| keeper.stop(false));
        while !all().all(Keeper::is_over) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        all().for_each(|keeper| keeper.stop(true));
        let until = Instant::now() + limits::EXIT_PATIENCE;
        while !all().all(Keeper::is_over) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Source for Dtrace {
    fn name(&self) -> &'static str {
        "dtrace"
    }

    fn sample(&mut self, _tick: Tick, sample: &mut Sample) -> Result<(), End> {
        let mut zones = project::Zones::new(&self.options.zone_of_pid);
        for keeper in self.retiring.iter().chain(&self.keepers) {
            let began = Instant::now();
            let delivery = keeper.mailbox.fetch();
            let rows: Vec<_> = delivery.intervals.into_iter().flat_map(|interval| interval.rows).collect();
            let delivery = mailbox::Delivery { intervals: Vec::new(), ..delivery };
            let projected = match keeper.program.header() {
                None => project::project(rows, &mut zones, sample),
                Some(header) => users::project(rows, header, &mut zones, sample),
            };
            keeper.mailbox.update(|fare| fare.drops += projected.drops);
            report::report(&keeper.program, &delivery, projected, began.elapsed(), sample);
        }
        self.retiring.retain(|keeper| !keeper.is_over());
        sample.collect.extend(self.wrong.iter().map(wrong_row));
        Ok(())
    }

    fn reload(&mut self) {
        Dtrace::reload(self);
    }

    fn shutdown(&mut self) -> bool {
        Dtrace::shutdown(self, limits::PATIENCE);
        self.is_available()
    }
}

fn wrong_row(error: &ProgramError) -> v1::Collect {
    v1::Collect {
        source: "dtrace".to_owned(),
        family: error.family(),
        success: Some(0),
        rows: Some(0),
        errors: Some(1),
        error: Some(mailbox::cut(&error.to_string(), limits::MAX_ERROR_BYTES).to_owned()),
        ..v1::Collect::default()
    }
}
