//! The command line of `keys`, as it is typed.

use clap::{Args, Subcommand};

use crate::format::Format;

/// `keys` of a generator.
#[derive(Debug, Clone, Subcommand)]
pub enum GeneratorKeys {
    /// Make this generator's key pair, and print the public key
    New(New),
    /// Print the public key, and who may subscribe
    Show(Show),
    /// Let somebody subscribe who has this key
    Authorize(Authorize),
    /// Let somebody subscribe no more
    Revoke(Revoke),
}

/// `keys` of a collector.
#[derive(Debug, Clone, Subcommand)]
pub enum CollectorKeys {
    /// Make this collector's key pair, and print the public key
    New(New),
    /// Print the public key, and the generators that are known
    Show(Show),
    /// Trust the generator at an endpoint to have this key; makes our own pair where there is none
    Authorize(Know),
    /// Forget the key of a generator
    Revoke(Forget),
}

/// How a collector of this role and a generator come to trust each other, for `keys --help` of that collector.
pub fn collector_help(role: &str) -> String {
    let there = "zonescope-generator keys new";
    let here = format!("zonescope-{role} keys authorize tcp://HOST:7211 'ITS-KEY'");
    let width = here.len();
    format!(
        "\
A generator whose key is known here is only spoken to encrypted (CURVE), and only if it has that key. No key is trusted silently. One \
whose key is not known is spoken to in plain, or with `curve = \"required\"` not at all. Three commands switch encryption on:
  there  {there:<width$}  prints ITS-KEY
  here   {here}  prints OUR-KEY
  there  zonescope-generator keys authorize 'OUR-KEY' --name store
and a restart of both. A key goes in single quotes: it may hold $, & and <. It is its own fingerprint.

What is authorized or revoked while the collector runs counts when that is told to read its configuration again: systemctl \
reload zonescope-{role}, svcadm refresh zonescope/{role}, or SIGHUP.

Examples:
  zonescope-{role} keys show
  zonescope-{role} keys authorize tcp://alpha:7211 alpha.pub     a file that holds the key, or -
  zonescope-{role} keys revoke tcp://alpha:7211"
    )
}

/// What `new` takes.
#[derive(Debug, Clone, Args)]
pub struct New {
    /// What goes with the public key, for people [default: PROGRAM@HOST]
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What `show` takes.
#[derive(Debug, Clone, Args)]
pub struct Show {
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What `authorize` of a generator takes.
#[derive(Debug, Clone, Args)]
pub struct Authorize {
    /// The public key, in single quotes; or a file that holds it; or - for standard input
    #[arg(value_name = "KEY|FILE", allow_hyphen_values = true)]
    pub key: String,
    /// Whose it is: the name to revoke it by
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// The endpoint where it is let in, by its name in the configuration [default: `bind`]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// What goes with it, for people [default: what the file says]
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What `revoke` of a generator takes.
#[derive(Debug, Clone, Args)]
pub struct Revoke {
    /// The name, or the key itself
    #[arg(value_name = "NAME|KEY", allow_hyphen_values = true)]
    pub who: String,
    /// Only at this endpoint, by its name in the configuration [default: wherever it is let in]
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What `authorize` of a collector takes.
#[derive(Debug, Clone, Args)]
pub struct Know {
    /// Where the generator is, written as in `connect`
    #[arg(value_name = "tcp://HOST:PORT")]
    pub endpoint: String,
    /// Its public key, in single quotes; or a file that holds it; or - for standard input
    #[arg(value_name = "KEY|FILE", allow_hyphen_values = true)]
    pub key: String,
    /// What goes with it, for people [default: what the file says]
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// What `revoke` of a collector takes.
#[derive(Debug, Clone, Args)]
pub struct Forget {
    /// The endpoint, or the key itself
    #[arg(value_name = "tcp://HOST:PORT|KEY", allow_hyphen_values = true)]
    pub who: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}
