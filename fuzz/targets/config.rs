//! Any text as the configuration of each program: settings, or an error that says where.
//!
//! Those of the columnar collector are taken by their paths: the crate that they belong to would bring DataFusion along, eleven
//! minutes of compiling. What they need of it stands in `parts/`.
#![no_main]

#[path = "../../collector-columnar/src/cli.rs"]
#[allow(dead_code, reason = "what `run` takes")]
mod cli;
#[path = "parts/commands.rs"]
mod commands;
#[path = "../../collector-columnar/src/config.rs"]
#[allow(dead_code, reason = "what `run` reads")]
mod config;
#[path = "../../collector-columnar/src/limits.rs"]
#[allow(dead_code, reason = "those of the configuration")]
mod limits;
#[path = "parts/query.rs"]
mod query;
#[path = "parts/options.rs"]
mod store;

use libfuzzer_sys::fuzz_target;
use zonescope_collector_redis as redis;
use zonescope_fuzz::MemoryFile;
use zonescope_generator as generator;

fuzz_target!(|bytes: &[u8]| {
    // A path in it is opened: no file of this machine is meant.
    if bytes.contains(&b'/') && !bytes.windows(3).any(|w| w == b"://") {
        return;
    }
    let file = MemoryFile::new(bytes);
    let path = Some(file.path().to_owned());

    let common = generator::cli::Common { config: path.clone() };
    if let Ok(read) = generator::config::Config::load(&common) {
        read.with(&generator::cli::RunArguments::default()).expect("nothing was typed");
    }
    let redis = redis::cli::RedisArguments { config: path.clone(), ..Default::default() };
    let _ = redis::config::load_redis(&redis);
    let _ = config::load(&cli::RunArguments { config: path, ..Default::default() });
});
