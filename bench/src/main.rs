//! The parts of the benchmark that must be inside the program: `bench.py` starts them, compares them with others, and writes
//! docs/BENCHMARKS.md. Each prints one line of JSON on standard output.
//!
//! | command | does |
//! |---|---|
//! | `wire` | encodes every packet of the captures as a frame, and says how large it is |
//! | `ingest` | puts frames of many zones into a store, and says what that cost |
//! | `ask` | answers questions, one a line, by one engine, and says how long each took |
//! | `publish` | publishes at a given rate, as a generator does |
//! | `hear` | subscribes, counts, and stores nothing |
//! | `hot` | runs one hot path so often, for a tool that counts instructions |

#![allow(clippy::print_stdout, reason = "its results are what it prints")]

mod ask;
mod flood;
mod hot;
mod ingest;
mod usage;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Measures parts of zonescope. `sh bench.sh` runs it.
#[derive(Debug, Parser)]
#[command(name = "zonescope-bench")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sizes of frames
    Wire {
        /// Captures: folder of *.packets.jsonl.zst
        #[arg(long)]
        data: PathBuf,
    },
    /// Frames to Parquet
    Ingest(ingest::Arguments),
    /// Questions on standard input, a line each
    Ask {
        /// The store
        #[arg(long)]
        root: PathBuf,
        /// Threads
        #[arg(long)]
        threads: usize,
    },
    /// Publishes frames of the captures at a rate
    Publish(flood::PublishArguments),
    /// Subscribes, and counts what comes
    Hear(flood::HearArguments),
    /// One hot path, so often
    Hot(hot::Arguments),
}

fn main() -> anyhow::Result<()> {
    let result = match Cli::parse().command {
        Command::Wire { data } => workload::wire(&data)?,
        Command::Ingest(arguments) => ingest::ingest(&arguments)?,
        Command::Ask { root, threads } => return ask::ask(&root, threads),
        Command::Publish(arguments) => flood::publish(&arguments)?,
        Command::Hear(arguments) => flood::hear(&arguments)?,
        Command::Hot(arguments) => hot::hot(&arguments)?,
    };
    println!("{result}");
    Ok(())
}
