//! zonescope-generator: parse, load, run, report.

use std::process::ExitCode;

use clap::Parser;
use zonescope_generator::cli::{Cli, Command};
use zonescope_generator::config::Config;
use zonescope_generator::endpoints::Doors;
use zonescope_generator::{cli, doctor, once, programs, record, run};
use zonescope_link::confine::{self, Need};
use zonescope_link::keys::command::Owner;
use zonescope_link::keys::keyring::Keyring;
use zonescope_link::{exit, log};

fn main() -> ExitCode {
    confine::begin();
    match execute(Cli::parse()) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => exit::report("zonescope-generator", error.as_ref()),
    }
}

fn execute(cli: Cli) -> anyhow::Result<()> {
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(arguments) => {
            let config = Config::load(&arguments.common)?.with(&arguments)?;
            if arguments.check_config {
                Doors::open(&config)?;
                return cli::say("the configuration is right");
            }
            log::init(config.log_format()?, arguments.verbose);
            confine::give_up_all_but(if config.runs_dtrace() { Need::Dtrace } else { Need::Processes });
            run::run(config)
        }
        Command::Once(arguments) => {
            once::once(&Config::load(&arguments.common)?.with_source(&arguments.source), &arguments)
        }
        Command::Record(arguments) => {
            log::init(log::Format::Text, 0);
            record::record(&Config::load(&arguments.common)?.with_source(&arguments.source), &arguments)
        }
        Command::Doctor(arguments) => doctor::doctor(&Config::load(&arguments.common)?, &arguments),
        Command::Keys { config, command } => {
            let keyring = Keyring::at(Config::load(&cli::Common { config })?.keys);
            Ok(Owner { role: cli::ROLE, keyring }.generator(&command, &mut std::io::stdout().lock())?)
        }
        Command::Dtrace { command } => programs::execute(&command),
        Command::Completions { shell } => cli::completions(shell),
    }
}
