//! The command line as clap reads it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use crate::{api::signing, config::MerchantName};

/// Takes Bitcoin Cash payments with nothing but your own node.
#[derive(Debug, Parser)]
#[command(name = "jppd", version, about, propagate_version = true)]
pub struct CommandLine {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon
    Run(ConfigFile),
    /// Check the configuration and print the one in effect
    CheckConfig(ConfigFile),
    /// Compare the books with the node, print what does not agree, and change nothing; the daemon may run meanwhile.
    /// Exits with 2 if something does not agree
    Audit(ConfigFile),
    /// Tell which blocks the node deleted before they were walked, and go on without them if that is acknowledged; the
    /// daemon must not run. Exits with 2 if something is missing and was not acknowledged
    Gap(GapCommand),
    /// Tell who owns an address, and release it to the next one who asks for it
    #[command(subcommand)]
    Scripts(Scripts),
    /// Look after the store
    #[command(subcommand)]
    Store(StoreCommand),
    /// Make keys
    #[command(subcommand)]
    Keys(Keys),
}

/// Commands about the owner of an address.
#[derive(Debug, Subcommand)]
pub enum Scripts {
    /// Tell who owns an address, since when, and whether it is released; the daemon may run meanwhile. Exits with 1 if no
    /// invoice ever asked for it
    Show(ScriptCommand),
    /// Make the next one who asks for an address its owner. What comes later is theirs; invoices of the old owner there are
    /// then paid by what is submitted for them only. The daemon must not run
    Release(ScriptCommand),
}

/// The address that a command is about.
#[derive(Args, Debug)]
pub struct ScriptCommand {
    /// The address, as an invoice asks for it
    pub address: String,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Commands about the store.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Tell what a repair of a damaged store would lose, and repair it if that is accepted; the daemon must not run.
    /// Exits with 2 if something would be lost and was not accepted
    Repair(StoreRepair),
}

/// A repair of the store.
#[derive(Args, Debug)]
pub struct StoreRepair {
    /// Go on with what can be read, without the rest; the logs are copied aside first
    #[arg(long)]
    pub accept_loss: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub struct ConfigFile {
    /// The configuration file; without one, the defaults and the environment hold
    #[arg(long, value_name = "FILE", env = "JPPD_CONFIG")]
    pub config: Option<PathBuf>,
}

/// What to do about blocks that the node deleted.
#[derive(Args, Debug)]
pub struct GapCommand {
    /// Go on without these blocks: payments in them that were never met stay on no record
    #[arg(long)]
    pub acknowledge: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Which key to make.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make an API key for a merchant, show it once, and keep its SHA-256
    Merchant(MerchantKey),
    /// Make the key that signs JPP answers, in a new file
    New(SigningKey),
}

/// A key for a merchant.
#[derive(Args, Debug)]
pub struct MerchantKey {
    /// The merchant's name; several keys may have the same
    pub name: MerchantName,
    /// The file to add the key to; without it, the configured http.api_keys_file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// A key that signs.
#[derive(Args, Debug)]
pub struct SigningKey {
    /// The file to make; without it, the configured jpp.signing_key_file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Who signs, as wallets show it; without it, the first domain
    #[arg(long, value_name = "NAME", value_parser = signing::read_owner)]
    pub owner: Option<String>,
    /// A host that the key speaks for, once or more often; without it, that of the configured http.public_url
    #[arg(long = "domain", value_name = "HOST", value_parser = signing::read_domain)]
    pub domains: Vec<String>,
    /// Until when wallets should believe it: a day or a moment (RFC 3339); without it, for a year
    #[arg(long, value_name = "TIME", value_parser = signing::read_expiry)]
    pub expires: Option<DateTime<Utc>>,
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigFile,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn reads_every_command() {
        let read = |words: &str| CommandLine::try_parse_from(words.split(' ')).map(|line| line.command);
        assert!(matches!(
            read("jppd run --config /a").unwrap(),
            Command::Run(ConfigFile { config: Some(path) }) if path.as_os_str() == "/a"
        ));
        assert!(matches!(read("jppd audit --config /a").unwrap(), Command::Audit(_)));
        let Command::Gap(gap) = read("jppd gap --acknowledge --config /a").unwrap() else {
            panic!("another command")
        };
        assert!(gap.acknowledge && gap.config.config.is_some());
        let line = "jppd store repair --accept-loss --config /a";
        let Command::Store(StoreCommand::Repair(repair)) = read(line).unwrap() else {
            panic!("another command")
        };
        assert!(repair.accept_loss && repair.config.config.is_some());
        assert!(matches!(read("jppd check-config --config /a").unwrap(), Command::CheckConfig(_)));
        let Command::Scripts(Scripts::Show(show)) = read("jppd scripts show bchtest:q --config /a").unwrap()
        else {
            panic!("another command")
        };
        assert_eq!((show.address.as_str(), show.config.config.is_some()), ("bchtest:q", true));
        assert!(matches!(
            read("jppd scripts release bchtest:q").unwrap(),
            Command::Scripts(Scripts::Release(_))
        ));
        let Command::Keys(Keys::Merchant(key)) = read("jppd keys merchant shop --file /k").unwrap() else {
            panic!("another command");
        };
        assert_eq!((key.name.as_str(), key.file), ("shop", Some(PathBuf::from("/k"))));
        let line = "jppd keys new --file /k --owner Shop --domain a.b --domain c --expires 2030-01-31";
        let Command::Keys(Keys::New(key)) = read(line).unwrap() else { panic!("another command") };
        assert_eq!((key.file, key.owner.as_deref()), (Some(PathBuf::from("/k")), Some("Shop")));
        assert_eq!(key.domains, ["a.b", "c"]);
        assert_eq!(key.expires.map(|end| end.timestamp()), Some(1_896_048_000));
        for bad in [
            "jppd keys new --domain https://a.b",
            "jppd keys new --expires never",
            "jppd keys new --owner ",
            "jppd",
            "jppd serve",
            "jppd keys",
            "jppd store",
            "jppd keys merchant",
            "jppd scripts",
            "jppd scripts release",
            "jppd keys merchant Shop",
            "jppd run --listen x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
