//! The command line, as it is typed.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use zonescope_link::format::Format;
use zonescope_link::keys::arguments::{CollectorKeys, collector_help};

/// The program's name.
pub const NAME: &str = "zonescope-collector-redis";
/// Its role: part of the names of its files.
pub const ROLE: &str = "collector-redis";

const EXAMPLES: &str = "\
Examples:
  zonescope-collector-redis run --connect tcp://10.0.0.5:7211 --redis redis://127.0.0.1:6379
  zonescope-collector-redis top
  redis-cli ZREVRANGE zonescope:zones 0 9
  redis-cli HGETALL 'zonescope:{HOST/ZONE}:latest:use'

docs/REDIS.md names every key.";

// A paragraph a line: clap breaks them where the terminal ends.
const RUN_HELP: &str = "\
The latest values of every zone are hashes, its recent past are streams, and each tick is announced on a channel; everything expires. \
Redis 6.2 and newer and Valkey will do, without modules: one server, a master named by Sentinels, or a cluster.

It goes on where Redis says that it was: what it missed while it was away is asked for at the generators. Redis may be away too: \
frames wait, as many as --backlog holds, and are written once when it is back. Beyond that the oldest are dropped, and are \
on record as gaps.

SIGTERM and SIGINT write what waits and leave; SIGHUP reads the configuration again and takes over whom to connect to and \
which zones to take.

The password comes from the variable ZONESCOPE_REDIS_PASSWORD, from the file that --password-file names, or from the \
configuration; never from the command line, which everybody on the machine can see.

Examples:
  zonescope-collector-redis run --connect tcp://10.0.0.5:7211,tcp://10.0.0.6:7211 --keep 2h
  zonescope-collector-redis run --redis rediss://redis.example:6380 --tls-ca own-ca.pem
  zonescope-collector-redis run --username zonescope --password-file /etc/zonescope/redis.password
  zonescope-collector-redis run --cluster --redis redis://10.0.0.1:7000,redis://10.0.0.2:7000
  zonescope-collector-redis run --sentinel mymaster --redis redis://10.0.0.1:26379
  zonescope-collector-redis run --redis unix:///run/redis/redis.sock --zone web1 --zone web2";

const TOP_HELP: &str = "\
Zones that have been seen within the last ten seconds, the one that hurts most first. It reads Redis only: `run` has to write to the same \
server, with the same --prefix.";

const DOCTOR_HELP: &str = "\
Each line is ok, warn (it works, with less than there could be) or FAIL (it does not), and says what to do next. Nothing is
changed, in Redis neither, and a collector that runs goes on running.

Exit codes: 0 nothing fails; 1 a line is FAIL; 2 the command line or the configuration is wrong.

Examples:
  zonescope-collector-redis doctor
  zonescope-collector-redis doctor --format json | jq '.checks[] | select(.verdict != \"ok\")'";

/// Subscribes to generators, and keeps the live state and recent past of every zone in Redis.
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
    Run(Box<RunArguments>),
    /// Show who hurts most, live, from Redis
    #[command(after_help = TOP_HELP)]
    Top(TopArguments),
    /// Look whether all that is needed is there, and say what to do where it is not
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArguments),
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

/// Where Redis is.
#[derive(Debug, Clone, Default, Args)]
pub struct RedisArguments {
    /// Configuration file (TOML) [default: /etc/zonescope/collector-redis.toml, on illumos
    /// /opt/zonescope/etc/collector-redis.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// redis://HOST:PORT/DB, rediss://HOST:PORT for TLS, or unix:///PATH; may be given more than once with --cluster and
    /// --sentinel [default: redis://127.0.0.1:6379]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub redis: Vec<String>,
    /// The addresses are nodes of a cluster
    #[arg(long, conflicts_with = "sentinel")]
    pub cluster: bool,
    /// The addresses are Sentinels, and this is the name of the master
    #[arg(long, value_name = "NAME")]
    pub sentinel: Option<String>,
    /// ACL user [default: the server's default user]
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// A file whose first line is the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Certificates to trust (PEM) [default: the system's]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// What every key begins with [default: zonescope]
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
}

/// How to run.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// Where Redis is.
    #[command(flatten)]
    pub redis: RedisArguments,
    /// Generators to subscribe to; may be given more than once [default: tcp://127.0.0.1:7211]
    #[arg(long, value_name = "tcp://HOST:PORT", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// Only these zones; may be given more than once [default: all]
    #[arg(long, value_name = "NAME")]
    pub zone: Vec<String>,
    /// How long history is kept, and what is gone is remembered [default: 1h]
    #[arg(long, value_name = "TIME")]
    pub keep: Option<String>,
    /// Shorten history when a server uses more than this [default: nine tenths of its maxmemory]
    #[arg(long, value_name = "SIZE")]
    pub max_memory: Option<String>,
    /// Bound of the frames that wait for Redis [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    pub backlog: Option<String>,
    /// Our name among collectors [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Read the configuration, say whether it is right, and end
    #[arg(long)]
    pub check_config: bool,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Say more (-vv: everything)
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to show.
#[derive(Debug, Clone, Args)]
pub struct TopArguments {
    /// Where Redis is.
    #[command(flatten)]
    pub redis: RedisArguments,
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
    /// Where Redis is.
    #[command(flatten)]
    pub redis: RedisArguments,
    /// Generators to ask; may be given more than once [default: those of the configuration]
    #[arg(long, value_name = "tcp://HOST:PORT", value_delimiter = ',')]
    pub connect: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The command line's grammar, for completions and the manual page.
pub fn grammar() -> clap::Command {
    Cli::command()
}
