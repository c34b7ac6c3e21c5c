//! Defaults, then the file, then the environment; then the look at the whole.

use std::{collections::HashMap, ffi::OsString, fmt::Write as _, fs, path::Path};

use super::{
    api_keys::ApiKeys,
    check::check,
    error::{ConfigError, Place, Problem, Warning},
    files::{check_files, warn_if_writable},
    keys::{KEYS, Key},
    sections::Config,
    source::{self, Found},
};
use crate::api::signing::Signing;

/// A configuration that passed every check.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values in effect.
    pub config: Config,
    /// The merchants' keys, from the file that the configuration names.
    pub api_keys: ApiKeys,
    /// What there is to sign with, from the files that the configuration names.
    pub signing: Signing,
    /// What will work, but probably not as meant.
    pub warnings: Vec<Warning>,
    origins: Origins,
}

/// Where each value came from. Keys that are not in it have their default.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(HashMap<String, Place>);

impl Origins {
    pub(super) fn of(&self, path: &str) -> Place {
        self.0.get(path).cloned().unwrap_or_default()
    }
}

impl Loaded {
    /// Reads a configuration: the defaults, over them the file if there is one, over both the variables. Then
    /// looks at the files it names.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with everything that is wrong.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut loaded = Self::read_alone(file, variables)?;
        if let Some(file) = file {
            warn_if_writable("--config", file, &mut loaded.warnings);
        }
        let mut problems = Vec::new();
        let files = check_files(&loaded.config, &loaded.origins, &mut problems, &mut loaded.warnings);
        if !problems.is_empty() {
            return Err(ConfigError { problems });
        }
        Ok(Self { api_keys: files.api_keys, signing: files.signing, ..loaded })
    }

    /// The same without a look at the files it names, which whoever makes them cannot have yet: nobody has a key.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], with everything that is wrong.
    pub fn read_alone(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                match fs::read(path).map(String::from_utf8) {
                    Ok(Ok(text)) => Some((name, text)),
                    Ok(Err(_)) => return Err(unreadable(name, "this is not UTF-8".to_owned())),
                    Err(error) => return Err(unreadable(name, format!("cannot be read: {error}"))),
                }
            }
        };
        Self::parse(text.as_ref().map(|(name, text)| (name.as_str(), text.as_str())), variables)
    }

    /// The same for a text in memory, `(name, text)`, and without a look at any file: nobody has a key.
    pub fn parse(
        file: Option<(&str, &str)>,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut found =
            file.map(|(name, text)| source::from_file(name, text, &mut problems)).unwrap_or_default();
        found.extend(source::from_environment(variables, &mut problems));
        let (config, origins) = merge(found, &mut problems);
        let mut warnings = Vec::new();
        // A whole with holes in it would only raise questions that its first problems answer.
        if problems.is_empty() {
            check(&config, &origins, &mut problems, &mut warnings);
        }
        if problems.is_empty() {
            let (api_keys, signing) = (ApiKeys::default(), Signing::default());
            Ok(Self { config, api_keys, signing, warnings, origins })
        } else {
            Err(ConfigError { problems })
        }
    }

    /// The configuration in effect, as TOML, each value with where it came from.
    pub fn show(&self) -> String {
        let defaults = Config::default();
        let mut shown = String::new();
        let mut section = "";
        for key in KEYS {
            // Writing to a string cannot fail.
            if key.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                let _ = writeln!(shown, "{gap}[{}]", key.section);
                section = key.section;
            }
            let _ = match key.show(&self.config) {
                Some(value) => writeln!(shown, "{} = {value}  # {}", key.name, self.origin(key)),
                // Taken away: the line must do so again for whoever reads this as a file.
                None if key.show(&defaults).is_some() => {
                    writeln!(shown, "{} = \"\"  # {}", key.name, self.origin(key))
                }
                None => writeln!(shown, "# {} is not set{}", key.name, self.effect_of_none(key)),
            };
        }
        shown
    }

    fn origin(&self, key: &Key) -> String {
        self.origins.of(&key.path()).to_string()
    }

    /// What holds instead of a value that is not set.
    fn effect_of_none(&self, key: &Key) -> String {
        match (key.section, key.name) {
            ("node", "rpc_url") => format!(": {}", self.config.node.rpc_url()),
            ("http", "public_url") => format!(": {}", self.config.http.public_url()),
            _ => String::new(),
        }
    }
}

fn unreadable(file: String, what: String) -> ConfigError {
    let problem = Problem { place: Place::File(file), key: String::new(), what, allowed: String::new() };
    ConfigError { problems: vec![problem] }
}

/// Lays the values over the defaults, in their order.
pub(super) fn merge(found: Vec<Found>, problems: &mut Vec<Problem>) -> (Config, Origins) {
    let mut config = Config::default();
    let mut origins = Origins::default();
    for Found { key, given, place } in found {
        match key.set(&mut config, &given) {
            Ok(()) => {
                origins.0.insert(key.path(), place);
            }
            Err(what) => problems.push(Problem { place, key: key.path(), what, allowed: key.allowed() }),
        }
    }
    (config, origins)
}

#[cfg(test)]
mod tests;
