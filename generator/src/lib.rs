//! The generator: one daemon on each host.
//!
//! Once a tick ([`tick`]) every [`source`] reads its platform into one sample; the sample's zones are published, a frame
//! each, and a host frame that announces what was sent ([`run`]). Sources are independent: a family that fails is a
//! number in the frames of `global`, never an outage.

pub mod agent;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod dtrace;
pub mod endpoints;
pub mod illumos;
pub mod kstat;
pub mod linux;
pub mod once;
pub mod programs;
pub mod record;
pub mod recorded;
pub mod ring;
pub mod run;
pub mod select;
pub mod show;
pub mod source;
pub mod tick;
pub mod top;
