//! zonescope-collector-redis: parse, load, run, report.

use std::process::ExitCode;

use clap::Parser;
use zonescope_collector_redis::cli::{Cli, Command, NAME, ROLE};
use zonescope_collector_redis::{commands, config};
use zonescope_link::confine::{self, Need};
use zonescope_link::keys::command::Owner;
use zonescope_link::{exit, log, stdout};

fn main() -> ExitCode {
    confine::begin();
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => exit::report(NAME, error.as_ref()),
    }
}

fn execute(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(arguments) => {
            let settings = config::load(&arguments)?;
            if arguments.check_config {
                settings.intake.options()?;
                return Ok(stdout::say("the configuration is right")?);
            }
            log::init(settings.log_format, arguments.verbose);
            confine::give_up_all_but(Need::Nothing);
            commands::run::run(&arguments, settings)
        }
        Command::Top(arguments) => {
            log::init(log::Format::Text, 0);
            commands::top::top(&arguments)
        }
        Command::Keys { config, command } => {
            let (keyring, _) = config::keys(config.as_deref())?;
            Ok(Owner { role: ROLE, keyring }.collector(&command, &mut std::io::stdout().lock())?)
        }
        Command::Doctor(arguments) => commands::doctor::doctor(&arguments),
        Command::Completions { shell } => commands::completions(shell),
    }
}
