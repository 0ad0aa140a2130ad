//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use zonescope_link::format;
use zonescope_link::keys::arguments::{CollectorKeys, collector_help};

use crate::commands::export::FileFormat;
use crate::query::output::Format;

/// The program's name.
pub const NAME: &str = "zonescope-collector-columnar";
/// Its role: part of the names of its files.
pub const ROLE: &str = "collector-columnar";

const EXAMPLES: &str = "\
Examples:
  zonescope-collector-columnar run --connect tcp://10.0.0.5:7211 --root /data/zonescope
  zonescope-collector-columnar top
  zonescope-collector-columnar tables
  zonescope-collector-columnar query \"select zone, resource, max(utilization) from use group by 1, 2 order by 3 desc limit 10\"

Every table and view is described by `tables NAME`. A collector may run while you query: what it received a second ago
is in the answer.";

const RUN_HELP: &str = "\
Every frame is durable within a second of its arrival (write-ahead log), and becomes Parquet at the next flush:
  ROOT/TABLE/date=YYYY-MM-DD/hour=HH/SEGMENT.parquet
which DuckDB, Spark, Trino and pandas read as well. Killed at any instant, it loses nothing that was durable and stores
nothing twice. A full disk is reported, and waited for. SIGTERM and SIGINT flush and leave; SIGHUP reads the
configuration again and takes over whom to connect to and which zones to take.

Memory is bounded however long it runs: --memory for rows waiting to become Parquet (reached only where the disk does not
keep up; a flush begins at half of it), about 100 MiB of frames on their way to the store, and about 100 MiB for writing
and merging files.

Examples:
  zonescope-collector-columnar run --connect tcp://10.0.0.5:7211,tcp://10.0.0.6:7211 --root /data/zonescope
  zonescope-collector-columnar run --zone web1 --zone web2 --keep 30d --max-bytes 200GiB";

const QUERY_HELP: &str = "\
Tables are named as the families of statistics are (cpu, memory, disk, net, process, ...), columns as the platform names its
statistics, capitals included (retransSegs). Views are derived:
  use          utilization, saturation and errors of each resource, zone and tick
  rates        every counter per second, a row each
  TABLE_rates  a table, its counters per second
What is kept of the frames themselves: frames (one row each), gaps (what is missing for good, and why), completeness
(expected, received, recovered, missing by zone and minute).

NULL means that the platform does not say; it is not zero. Times are UTC.

Examples:
  who uses most:   query \"select zone, resource, max(utilization) from use group by 1, 2 order by 3 desc nulls last limit 10\"
  who is waiting:  query \"select zone, resource, avg(saturation), saturation_unit from use where saturation > 0 group by 1, 2, 4\"
  one zone now:    query \"select * from use where zone = 'web1' and time > now() - interval '1 minute' order by time\"
  bytes sent:      query \"select zone, link, avg(obytes64) from net_rates group by 1, 2\"
  for a program:   query --format json \"select * from cpu limit 10\"
  what is missing: query \"select host, zone, time, count, reason from gaps order by time desc limit 20\"

On a terminal, or with --completeness, stderr says of how many of the frames that were due in the time asked about the
answer was made, and where the others are missing; with --format json as one JSON object.";

const EXPORT_HELP: &str = "\
Examples:
  zonescope-collector-columnar export --to cpu.parquet \"select * from cpu where time > now() - interval '1 day'\"
  zonescope-collector-columnar export --to use.csv --table use";

const DOCTOR_HELP: &str = "\
Each line is ok, warn (it works, with less than there could be) or FAIL (it does not), and says what to do next. Nothing is
changed, and a collector that runs goes on running.

Exit codes: 0 nothing fails; 1 a line is FAIL; 2 the command line or the configuration is wrong.

Examples:
  zonescope-collector-columnar doctor
  zonescope-collector-columnar doctor --format json | jq '.checks[] | select(.verdict != \"ok\")'";

/// Subscribes to generators, keeps every frame in Parquet, and answers SQL.
#[derive(Debug, Parser)]
#[command(name = NAME, version, about, max_term_width = 120)]
#[command(after_help = format!("{EXAMPLES}\n\n{}", zonescope_link::exit::HELP))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Subscribe and store until told to end
    #[command(after_help = RUN_HELP)]
    Run(RunArguments),
    /// Answer a question in SQL
    #[command(after_help = QUERY_HELP)]
    Query(QueryArguments),
    /// List tables and views, or describe one
    Tables(TablesArguments),
    /// Write an answer, or a table, to a file
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArguments),
    /// Show who hurts most, live
    Top(TopArguments),
    /// Look whether all that is needed is there, and say what to do where it is not
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArguments),
    /// Merge small files now, where no collector runs: one that runs does it by itself
    Compact(StoreArguments),
    /// Make our keys, and trust those of generators
    #[command(after_help = collector_help(ROLE))]
    Keys {
        /// Configuration file (TOML), which says where the keys are [default: as of `run`]
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        /// What to do with them
        #[command(subcommand)]
        command: CollectorKeys,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// How to run.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// Generators to subscribe to; may be given more than once [default: tcp://127.0.0.1:7211]
    #[arg(long, value_name = "tcp://HOST:PORT", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// Only these zones; may be given more than once [default: all]
    #[arg(long, value_name = "NAME")]
    pub zone: Vec<String>,
    /// Where to keep everything [default: /var/lib/zonescope/collector-columnar, on illumos
    /// /opt/zonescope/var/collector-columnar]
    #[arg(long, value_name = "DIR", env = "ZONESCOPE_ROOT")]
    pub root: Option<PathBuf>,
    /// Configuration file (TOML) [default: /etc/zonescope/collector-columnar.toml, on illumos
    /// /opt/zonescope/etc/collector-columnar.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Read the configuration, say whether it is right, and end
    #[arg(long)]
    pub check_config: bool,
    /// Longest time until a row is Parquet [default: 60s]
    #[arg(long, value_name = "TIME")]
    pub flush_interval: Option<String>,
    /// Bound of the rows in memory [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Remove hours older than this [default: keep all]
    #[arg(long, value_name = "TIME")]
    pub keep: Option<String>,
    /// Remove the oldest hours when all files together are larger than this [default: no bound]
    #[arg(long, value_name = "SIZE")]
    pub max_bytes: Option<String>,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Say more (-vv: everything)
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub struct StoreArguments {
    /// Where everything is kept [default: that of the configuration, else where `run` keeps it]
    #[arg(long, value_name = "DIR", env = "ZONESCOPE_ROOT")]
    pub root: Option<PathBuf>,
    /// Threads to use [default: as many as there are CPUs]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// What to ask.
#[derive(Debug, Clone, Args)]
pub struct QueryArguments {
    /// The question, in SQL
    pub sql: String,
    /// Say on stderr how complete the time is that was asked about, and what is missing where [default: on a terminal]
    #[arg(long)]
    pub completeness: bool,
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// How the answer looks
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Which tables.
#[derive(Debug, Clone, Args)]
pub struct TablesArguments {
    /// A table or view to describe: its columns with kind, unit and meaning
    pub name: Option<String>,
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
    /// How the answer looks
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What to export.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// The question whose answer is written
    #[arg(required_unless_present = "table", conflicts_with = "table")]
    pub sql: Option<String>,
    /// A whole table or view instead
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// The file to write; over what is there
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// How to write it [default: by the file's extension]
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Which store.
    #[command(flatten)]
    pub store: StoreArguments,
}

/// What to show.
#[derive(Debug, Clone, Args)]
pub struct TopArguments {
    /// Generators to watch; may be given more than once
    #[arg(long, value_name = "tcp://HOST:PORT", value_delimiter = ',', default_value = zonescope_link::DEFAULT_ENDPOINT)]
    pub connect: Vec<String>,
    /// Configuration file (TOML), which says where the keys are [default: as of `run`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// End after so long
    #[arg(long, value_name = "N")]
    pub seconds: Option<u64>,
    /// Most zones to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub rows: usize,
}

/// What to look at.
#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// Configuration file (TOML) [default: that of `run`]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where everything is kept [default: that of the configuration]
    #[arg(long, value_name = "DIR", env = "ZONESCOPE_ROOT")]
    pub root: Option<PathBuf>,
    /// Generators to ask; may be given more than once [default: those of the configuration]
    #[arg(long, value_name = "tcp://HOST:PORT", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = format::Format::Text)]
    pub format: format::Format,
}

/// The command line's grammar, for completions and the manual page.
pub fn grammar() -> clap::Command {
    Cli::command()
}
