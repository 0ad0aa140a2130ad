//! The Redis collector: the live state of every zone, and its recent past.
//!
//! Frames come from generators ([`inbox`]), wait in a bounded [`backlog`], and are written in batches ([`writer`]): one
//! transaction a zone ([`encode`]), all transactions of a batch in one round trip. [`keys`] says what everything is called,
//! [`zone`] why each frame is in Redis once, [`minute`] how complete it is, [`memory`] how a ceiling is kept, [`trouble`] what an operator is told.
//! Families of statistics are not known here by name: [`rows`] takes them as frame.proto defines them, and [`derive`]
//! adds rates; [`usage`] makes utilization, saturation and errors a row of their own.

pub mod backlog;
pub mod batch;
pub mod cli;
pub mod commands;
pub mod config;
pub mod connect;
pub mod derive;
pub mod encode;
pub mod health;
pub mod host;
pub mod inbox;
pub mod keys;
pub mod limits;
pub mod memory;
pub mod minute;
pub mod resume;
pub mod rows;
pub mod secret;
pub mod style;
pub mod trouble;
pub mod usage;
pub mod writer;
pub mod zone;
