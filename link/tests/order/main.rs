//! The state machine that makes order, against every disorder: scenarios one by one, and a model under random
//! ones. The answers come from the real ring, spool and answering code; only sockets and clock are made up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod model;
mod scenarios;
mod world;
