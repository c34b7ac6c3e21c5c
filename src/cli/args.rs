//! The command line as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::MerchantName;

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
    /// Make keys
    #[command(subcommand)]
    Keys(Keys),
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub struct ConfigFile {
    /// The configuration file; without one, the defaults and the environment hold
    #[arg(long, value_name = "FILE", env = "JPPD_CONFIG")]
    pub config: Option<PathBuf>,
}

/// Which key to make.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make an API key for a merchant, show it once, and keep its SHA-256
    Merchant(MerchantKey),
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
        assert!(matches!(read("jppd check-config --config /a").unwrap(), Command::CheckConfig(_)));
        let Command::Keys(Keys::Merchant(key)) = read("jppd keys merchant shop --file /k").unwrap() else {
            panic!("another command");
        };
        assert_eq!((key.name.as_str(), key.file), ("shop", Some(PathBuf::from("/k"))));
        for bad in [
            "jppd",
            "jppd serve",
            "jppd keys",
            "jppd keys merchant",
            "jppd keys merchant Shop",
            "jppd run --listen x",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
