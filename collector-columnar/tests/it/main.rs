//! The columnar collector, tested by what it does: one binary, since linking a SQL engine many times takes longer
//! than the tests.

#![allow(unreachable_pub, reason = "a test binary has no public items")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod commands;
mod compaction;
mod configuration;
mod crash;
mod damage;
mod doctor;
mod durability;
mod faults;
mod gaps;
mod man;
mod rates;
mod retention;
mod roundtrip;
mod style;
mod support;
mod unflushed;
mod usage;
