//! How a program fares, as rows of `collect` and `dtrace`.

use std::time::{Duration, Instant};

use zonescope_proto::{ZoneName, v1};

use super::limits::MAX_ERROR_BYTES;
use super::mailbox::{Delivery, State, cut};
use super::program::Program;
use super::project::Projected;
use crate::source::Sample;

/// Intervals that may be late before we say so: dtrace's seconds and ours are not in step.
const LATE_INTERVALS: u32 = 3;

/// Adds the rows of one program.
pub(super) fn report(
    program: &Program,
    delivery: &Delivery,
    projected: Projected,
    projecting: Duration,
    sample: &mut Sample,
) {
    let fare = &delivery.fare;
    let error = standing(program, delivery).or_else(|| delivery.error.clone());
    sample.collect.push(v1::Collect {
        source: "dtrace".to_owned(),
        family: program.name().to_owned(),
        success: Some(u64::from(fare.state == State::Running && error.is_none() && projected.drops == 0)),
        duration: u64::try_from((fare.reading + projecting).as_nanos()).ok(),
        rows: Some(projected.rows),
        errors: Some(fare.errors),
        drops: Some(fare.drops + projected.drops),
        error: error.map(|text| cut(&text, MAX_ERROR_BYTES).to_owned()),
    });
    sample.zone(&ZoneName::global()).frame.dtrace.push(v1::DtraceProgram {
        program: program.name().to_owned(),
        state: Some(fare.state.name().to_owned()),
        starts: Some(fare.starts),
        nsec: u64::try_from(fare.cpu.as_nanos()).ok(),
        lines: Some(fare.lines),
        bytes: Some(fare.bytes),
        keys: (fare.state == State::Running).then_some(fare.keys),
        over_budget: Some(fare.over_budget),
    });
}

/// What is wrong at every tick until it is over: why the program does not run, or that nothing comes.
fn standing(program: &Program, delivery: &Delivery) -> Option<String> {
    let state = delivery.fare.state;
    if let (State::Waiting | State::Unavailable | State::Disabled, Some(reason)) = (state, &delivery.fare.reason) {
        return Some(format!("{}: {reason}", state.name()));
    }
    let silent = Instant::now().saturating_duration_since(delivery.last_end?);
    let allowed = Duration::from_secs(2 + u64::from(program.interval_s() * LATE_INTERVALS));
    (state == State::Running && silent > allowed).then(|| format!("nothing for {} s", silent.as_secs()))
}
