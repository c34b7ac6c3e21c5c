//! The command line: `run`, `check-config`, `audit`, `gap`, `scripts`, `store`, `keys`.
//!
//! Floor 7. Assembly only: [`main`] reads the command line and the configuration, and hands over to whoever
//! does the work. Every command ends in one of three ways, see [`Exit`].

pub mod args;
pub mod audit;
mod certificate;
pub mod check_config;
mod disk;
pub mod gap;
pub mod keys;
mod log;
mod open_files;
pub mod run;
pub mod scripts;
mod signals;
pub mod signing_key;
pub mod store;
mod systemd;
mod watchdog;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;

use self::{
    args::{
        Command, CommandLine, GapCommand, Keys, MerchantKey, ScriptCommand, Scripts, SigningKey,
        StoreCommand, StoreRepair,
    },
    run::EngineEnded,
};
use crate::{
    api::signing::read_domain,
    config::{Config, ConfigError, Loaded},
    store::StoreError,
};

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done = 0,
    /// It could not; the message says why, and trying again may help.
    Failed = 1,
    /// It did what was asked, and what it found needs somebody's attention.
    Differs = 2,
    /// The command line or the configuration is wrong: `EX_USAGE`. Trying again changes nothing, and the unit
    /// file tells systemd so.
    Usage = 64,
    /// The engine's thread ended by itself, and the program with it: `EX_SOFTWARE`. Starting again helps.
    EngineEnded = 70,
    /// The store is refused, and is refused again until somebody does something about it: `EX_CONFIG`. The unit file
    /// tells systemd so.
    StoreRefused = 78,
}

impl Exit {
    /// How a command ends that failed with this error.
    fn of(error: &anyhow::Error) -> Self {
        if error.chain().any(|cause| cause.is::<EngineEnded>()) {
            return Self::EngineEnded;
        }
        match error.chain().find_map(|cause| cause.downcast_ref::<StoreError>()) {
            // The configuration wants a store that is there.
            Some(StoreError::Missing { .. }) => Self::Usage,
            Some(refused) if refused.is_lasting() => Self::StoreRefused,
            Some(_) | None => Self::Failed,
        }
    }
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
                Err(error) => fail(Exit::of(&error), &format!("{error:#}")),
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
        Command::Audit(place) => match load(place.config.as_deref()) {
            Ok(loaded) => match audit::report(&loaded.config) {
                Ok(report) => {
                    let (found, summary) = audit::shown(&report);
                    let differs = !report.findings.is_empty();
                    print_and(if differs { Exit::Differs } else { Exit::Done }, &found, &summary)
                }
                Err(error) => fail(Exit::of(&error), &format!("{error:#}")),
            },
            Err(error) => fail(Exit::Usage, &error.to_string()),
        },
        Command::Gap(GapCommand { acknowledge, config }) => match load(config.config.as_deref()) {
            Ok(loaded) => match gap::find(&loaded.config, acknowledge) {
                Ok(missing) => {
                    let (found, summary) = gap::shown(&missing, acknowledge);
                    let open = missing.heights.is_some() && !acknowledge;
                    print_and(if open { Exit::Differs } else { Exit::Done }, &found, &summary)
                }
                Err(error) => fail(Exit::of(&error), &format!("{error:#}")),
            },
            Err(error) => fail(Exit::Usage, &error.to_string()),
        },
        Command::Scripts(Scripts::Show(place)) => script(place, scripts::show),
        Command::Scripts(Scripts::Release(place)) => script(place, scripts::release),
        Command::Store(StoreCommand::Repair(StoreRepair { accept_loss, config })) => {
            match load(config.config.as_deref()) {
                Ok(loaded) => store_repair(&loaded.config, accept_loss),
                Err(error) => fail(Exit::Usage, &error.to_string()),
            }
        }
        Command::Keys(Keys::Merchant(key)) => merchant_key(key),
        Command::Keys(Keys::New(key)) => signing_key(key),
    }
}

fn script(
    ScriptCommand { address, config }: ScriptCommand,
    look: impl FnOnce(&Config, &str) -> anyhow::Result<scripts::Owned>,
) -> Exit {
    match load(config.config.as_deref()) {
        Ok(loaded) => match look(&loaded.config, &address) {
            Ok(owned) => {
                print_and(if owned.is_known() { Exit::Done } else { Exit::Failed }, &owned.shown(), "")
            }
            Err(error) => fail(Exit::of(&error), &format!("{error:#}")),
        },
        Err(error) => fail(Exit::Usage, &error.to_string()),
    }
}

/// Says what a repair of the store would lose, and repairs it if that was accepted.
fn store_repair(config: &Config, accept_loss: bool) -> Exit {
    let loss = match store::examine(config) {
        Ok(None) => return print("", "nothing to repair: the daemon opens the store as it is\n"),
        Ok(Some(loss)) => loss,
        Err(error) => return fail(Exit::of(&error), &format!("{error:#}")),
    };
    let told = print(&store::shown(&loss), "");
    if !accept_loss {
        let differs = if told == Exit::Done { Exit::Differs } else { told };
        return print_and(differs, "", "nothing was changed; to go on so: jppd store repair --accept-loss\n");
    }
    if told != Exit::Done {
        return fail(told, "what would be lost could not be told, so nothing was changed");
    }
    match store::repair(config, &loss) {
        Ok(aside) => {
            let note = format!(
                "repaired; the logs as they were are in {}, to be removed when nobody needs them; start the daemon\n",
                aside.display()
            );
            print("", &note)
        }
        Err(error) => fail(Exit::of(&error), &format!("{error:#}")),
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
    let created = today();
    let kept = keys::make().and_then(|key| keys::add(&path, name.clone(), &key, created).map(|()| key));
    match kept {
        Ok(key) => {
            let note = format!("key of {name}, shown this once; its SHA-256 is in {}\n", path.display());
            print(&format!("{key}\n"), &note)
        }
        Err(error) => fail(Exit::Failed, &error.to_string()),
    }
}

fn signing_key(SigningKey { file, owner, mut domains, expires, config }: SigningKey) -> Exit {
    // Where the words of the command suffice, no configuration has to be there.
    let configured = if file.is_none() || (domains.is_empty() && config.config.is_some()) {
        match Loaded::read_alone(config.config.as_deref(), std::env::vars_os()) {
            Ok(loaded) => Some(loaded.config),
            Err(error) => return fail(Exit::Usage, &error.to_string()),
        }
    } else {
        None
    };
    if domains.is_empty() {
        domains.extend(configured.as_ref().and_then(|config| domain_of(config.http.public_url.as_ref()?)));
    }
    let Some(first) = domains.first() else {
        return fail(Exit::Usage, "http.public_url names no host; name one with --domain HOST");
    };
    let Some(path) = file.or_else(|| configured.and_then(|config| config.jpp.signing_key_file)) else {
        return fail(Exit::Usage, "jpp.signing_key_file is not set; name the file with --file FILE");
    };
    let created = today();
    let expires = expires.unwrap_or(created + chrono::TimeDelta::days(365));
    if expires <= created {
        return fail(Exit::Usage, "--expires is in the past");
    }
    let owner = owner.unwrap_or_else(|| first.clone());
    let kept = signing_key::make(owner, domains, expires)
        .and_then(|file| signing_key::keep(&path, &file.text(created)).map(|()| file));
    match kept {
        Ok(file) => {
            let note =
                format!("the public key; the private one is in {}, and nowhere else\n", path.display());
            print(&format!("{}\n", file.public_keys().join("\n")), &note)
        }
        Err(error) => fail(Exit::Failed, &error.to_string()),
    }
}

/// The host of an address, if it can be published as a domain.
fn domain_of(url: &str) -> Option<String> {
    let uri: hyper::Uri = url.parse().ok()?;
    read_domain(&uri.host()?.to_ascii_lowercase()).ok()
}

fn today() -> chrono::DateTime<chrono::Utc> {
    #[expect(clippy::disallowed_methods, reason = "a date for people; no ledger comes near it")]
    chrono::Utc::now()
}

fn print(output: &str, notes: &str) -> Exit {
    let written =
        io::stderr().write_all(notes.as_bytes()).and_then(|()| io::stdout().write_all(output.as_bytes()));
    if written.is_ok() { Exit::Done } else { Exit::Failed }
}

/// Prints, and ends this way if that could be printed.
fn print_and(exit: Exit, output: &str, notes: &str) -> Exit {
    let printed = print(output, notes);
    if printed == Exit::Done { exit } else { printed }
}

fn fail(exit: Exit, message: &str) -> Exit {
    for line in message.lines() {
        // Where standard error is closed, the exit code still speaks.
        let _ = writeln!(io::stderr(), "jppd: {line}");
    }
    exit
}
