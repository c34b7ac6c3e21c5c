//! The command line: `run`, `check-config`, `keys`.
//!
//! Floor 7. Assembly only: [`main`] reads the command line and the configuration, and hands over to whoever
//! does the work. Every command ends in one of three ways, see [`Exit`].

pub mod args;
pub mod check_config;
pub mod keys;
pub mod run;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;

use self::args::{Command, CommandLine, Keys, MerchantKey};
use crate::config::{ConfigError, Loaded};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It could not; the message says why, and trying again may help.
    Failed = 1,
    /// The command line or the configuration is wrong: `EX_USAGE`. Trying again changes nothing, and the unit
    /// file tells systemd so.
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The whole program. `run` is the daemon: it gets a configuration that passed every check and returns when it
/// was told to stop.
pub fn main(run: impl FnOnce(Loaded) -> anyhow::Result<()>) -> ExitCode {
    let exit = match CommandLine::try_parse() {
        Ok(line) => dispatch(line.command, run),
        Err(error) => {
            // Help and version come this way too. A closed pipe is nobody's fault.
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Done }
        }
    };
    exit.into()
}

fn dispatch(command: Command, run: impl FnOnce(Loaded) -> anyhow::Result<()>) -> Exit {
    match command {
        Command::Run(place) => match load(place.config.as_deref()) {
            Ok(loaded) => match run(loaded) {
                Ok(()) => Exit::Done,
                Err(error) => fail(Exit::Failed, &format!("{error:#}")),
            },
            Err(error) => fail(Exit::Usage, &error.to_string()),
        },
        Command::CheckConfig(place) => match load(place.config.as_deref()) {
            Ok(loaded) => {
                let (shown, warnings) = check_config::report(&loaded);
                print(&shown, &warnings)
            }
            Err(error) => fail(Exit::Usage, &error.to_string()),
        },
        Command::Keys(Keys::Merchant(key)) => merchant_key(key),
    }
}

fn load(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    Loaded::read(file, std::env::vars_os())
}

fn merchant_key(MerchantKey { name, file, config }: MerchantKey) -> Exit {
    let path = match file {
        Some(path) => path,
        None => match load(config.config.as_deref()).map(|loaded| loaded.config.http.api_keys_file) {
            Ok(Some(path)) => path,
            Ok(None) => {
                return fail(Exit::Usage, "http.api_keys_file is not set; name the file with --file FILE");
            }
            Err(error) => return fail(Exit::Usage, &error.to_string()),
        },
    };
    #[expect(clippy::disallowed_methods, reason = "a date for people; no ledger comes near it")]
    let created = chrono::Utc::now();
    let kept = keys::make().and_then(|key| keys::add(&path, name.clone(), &key, created).map(|()| key));
    match kept {
        Ok(key) => {
            let note = format!("key of {name}, shown this once; its SHA-256 is in {}\n", path.display());
            print(&format!("{key}\n"), &note)
        }
        Err(error) => fail(Exit::Failed, &error.to_string()),
    }
}

fn print(output: &str, notes: &str) -> Exit {
    let written =
        io::stderr().write_all(notes.as_bytes()).and_then(|()| io::stdout().write_all(output.as_bytes()));
    if written.is_ok() { Exit::Done } else { Exit::Failed }
}

fn fail(exit: Exit, message: &str) -> Exit {
    for line in message.lines() {
        // Where standard error is closed, the exit code still speaks.
        let _ = writeln!(io::stderr(), "jppd: {line}");
    }
    exit
}
