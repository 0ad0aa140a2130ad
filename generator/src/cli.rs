//! The command line, as it is typed.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use zonescope_link::format::Format;
use zonescope_link::keys::arguments::GeneratorKeys;

/// The program's role: part of its name, and of the names of its files.
pub const ROLE: &str = "generator";

const AFTER_HELP: &str = "\
Examples:
  zonescope-generator once                       what every zone of this host does now
  zonescope-generator once --format json | jq .  the same for programs
  zonescope-generator                            run: publish every second on tcp://127.0.0.1:7211
  zonescope-generator run --bind tcp://10.0.0.5:7211 --interval-ms 5000
  zonescope-generator run -q                     do everything but publish, and print what it costs
  zonescope-generator record --seconds 60 > host.rec
  zonescope-generator once --source recorded:host.rec

Without a subcommand it runs. See zonescope-collector-columnar to store and query what it publishes.
";

const DOCTOR_HELP: &str = "\
Each line is ok, warn (it works, with less than there could be) or FAIL (it does not), and says what to do next. Nothing is
changed, and a generator that runs goes on running. Run it as who the service runs as: what root may, the service may not.

Exit codes: 0 nothing fails; 1 a line is FAIL; 2 the command line or the configuration is wrong.

Examples:
  zonescope-generator doctor
  setpriv --reuid zonescope --clear-groups zonescope-generator doctor    (Linux)
  zonescope-generator doctor --format json | jq '.checks[] | select(.verdict != \"ok\")'
";

const KEYS_HELP: &str = "\
Encryption is on where this generator has a key pair (CURVE of ZeroMQ). Three commands switch it on:
  here   zonescope-generator keys new                                             prints OUR-KEY
  there  zonescope-collector-columnar keys authorize tcp://HOST:7211 'OUR-KEY'    prints ITS-KEY
  here   zonescope-generator keys authorize 'ITS-KEY' --name store
and a restart of both. A key goes in single quotes: it may hold $, & and <. It is its own fingerprint.

Whoever is authorized or revoked while the generator runs is let in or sent away when that is told to read its keys \
again: systemctl reload zonescope-generator, svcadm refresh zonescope/generator, or SIGHUP.

Examples:
  zonescope-generator keys show
  zonescope-generator keys show --format json | jq -r .public
  zonescope-generator keys authorize store.pub --name store       a file that holds the key, or -
  zonescope-generator keys authorize 'KEY' --name m1 --endpoint acme       only at [[endpoint]] acme
  zonescope-generator keys revoke store
";

/// Samples every zone of this host, second by second, and publishes what it sees.
#[derive(Debug, Parser)]
#[command(name = "zonescope-generator", version, about, max_term_width = 100)]
#[command(after_help = format!("{AFTER_HELP}\n{}", zonescope_link::exit::HELP))]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run, where no subcommand is given.
    #[command(flatten)]
    pub run: RunArguments,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sample and publish until told to end (the default)
    Run(RunArguments),
    /// Print one tick of every zone
    Once(OnceArguments),
    /// Capture this host, so that it can be played elsewhere: to report a bug, to test, to show
    Record(RecordArguments),
    /// Look whether this host has all that is needed, and say what to do where it has not
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArguments),
    /// Make, show, authorize and revoke the keys of those who may subscribe
    #[command(after_help = KEYS_HELP)]
    Keys {
        /// Configuration file (TOML), which says where the keys are [default: as of `run`]
        #[arg(long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        /// What to do with them
        #[command(subcommand)]
        command: GeneratorKeys,
    },
    /// Look after D programs
    Dtrace {
        /// What to do with them
        #[command(subcommand)]
        command: DtraceCommand,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What to do with D programs.
#[derive(Debug, Subcommand)]
pub enum DtraceCommand {
    /// Check programs before they are dropped into the directory: their header, and that dtrace compiles them
    #[command(
        after_help = "Example:\n  zonescope-generator dtrace check slow-opens.d && cp slow-opens.d /etc/zonescope/dtrace.d/\n  pkill -HUP zonescope-gener   (or svcadm refresh zonescope/generator)"
    )]
    Check {
        /// What every command takes.
        #[command(flatten)]
        common: Common,
        /// The programs
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// List the built-in programs, with what they cost
    List,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// Configuration file (TOML) [default: /etc/zonescope/generator.toml, on illumos /opt/zonescope/etc/generator.toml, if it
    /// is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Which source to read.
#[derive(Debug, Clone, Default, Args)]
pub struct SourceArguments {
    /// auto, linux, kstat, or recorded:FILE (a recording, a kstat chain in JSON lines, `kstat -p`, `kstat -j`)
    #[arg(long, value_name = "SOURCE")]
    pub source: Option<String>,
    /// Play a recording so many times as fast, or `max` for as fast as it goes
    #[arg(long, value_name = "N|max", requires = "source")]
    pub speed: Option<Speed>,
    /// Start a recording over at its end
    #[arg(long = "loop", requires = "source")]
    pub repeat: bool,
    /// Copy the zones of a recording until there are so many
    #[arg(long, value_name = "N", requires = "source")]
    pub zones: Option<usize>,
}

/// How fast a recording is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// As fast as it goes.
    Max,
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        match text.parse::<f64>() {
            Ok(times) if times > 0.0 && times.is_finite() => Ok(Speed::Times(times)),
            _ => Err("a number above 0, or `max`".to_owned()),
        }
    }
}

/// How to run.
#[derive(Debug, Clone, Default, Args)]
pub struct RunArguments {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which source to read.
    #[command(flatten)]
    pub source: SourceArguments,
    /// Where to publish [default: tcp://127.0.0.1:7211, which lets in nobody from outside]
    #[arg(long, value_name = "tcp://ADDRESS:PORT")]
    pub bind: Option<String>,
    /// Publish on this port, on the address of --bind
    #[arg(short = 'p', long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Time from tick to tick [default: 1000]
    #[arg(short = 'd', long, value_name = "DELAY_MS")]
    pub interval_ms: Option<u32>,
    /// Say more (-vv: everything)
    #[arg(short = 'v', long, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Do everything but publish, and print each tick's cost
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Read the configuration, say whether it is right, and end
    #[arg(long)]
    pub check_config: bool,
    /// How log lines look: text or json [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

/// What `once` takes.
#[derive(Debug, Clone, Args)]
pub struct OnceArguments {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which source to read.
    #[command(flatten)]
    pub source: SourceArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Only this zone
    #[arg(long, value_name = "NAME")]
    pub zone: Option<String>,
    /// Only this family: cpu, memory, net, ...
    #[arg(long, value_name = "NAME")]
    pub family: Option<String>,
}

/// What `record` takes.
#[derive(Debug, Clone, Args)]
pub struct RecordArguments {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// Which source to read.
    #[command(flatten)]
    pub source: SourceArguments,
    /// How long to record
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub seconds: u64,
    /// Record the kstat chain, whatever --source says
    #[arg(long)]
    pub kstat: bool,
    /// Write to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What `doctor` takes.
#[derive(Debug, Clone, Args)]
pub struct DoctorArguments {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// The command line's grammar, for completions and the manual page.
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// Prints a sentence to standard output.
///
/// # Errors
/// Where nobody reads it.
pub fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

/// Prints completions.
///
/// # Errors
/// None.
pub fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    clap_complete::generate(shell, &mut grammar(), "zonescope-generator", &mut std::io::stdout());
    Ok(())
}
