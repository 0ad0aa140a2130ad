//! collector-columnar's store, as far as it reads the log.
#![allow(dead_code, reason = "the reading half of it")]

#[path = "../../../collector-columnar/src/store/fs.rs"]
pub mod fs;
#[path = "../../../collector-columnar/src/store/layout.rs"]
pub mod layout;
#[path = "../../../collector-columnar/src/store/log.rs"]
pub mod log;
#[path = "../../../collector-columnar/src/store/lost.rs"]
pub mod lost;
