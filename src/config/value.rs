//! The kinds of values: how each is read from what was given, what it allows, and how it is shown again.

use std::{
    fmt::{Debug, Display},
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use hyper::Uri;
use ipnet::IpNet;

use super::{duration, size};
use crate::bch::FeeRate;

/// A value as it was given, before anybody asks what it should be.
///
/// The file is typed: `max_outputs = "100"` is refused there. A variable is only ever text. Numbers keep their
/// digits, so that a fee rate is read exactly and no float is made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The text of a variable.
    Variable(String),
    /// A text of the file.
    Text(String),
    /// A decimal number of the file, in its digits.
    Number(String),
    /// `true` or `false` in the file.
    Truth(bool),
    /// A list of texts in the file.
    List(Vec<String>),
    /// Something no key takes, by the name of its type.
    Other(&'static str),
}

impl Given {
    /// The text, if it may be taken as one.
    fn text(&self) -> Result<&str, String> {
        match self {
            Self::Variable(text) | Self::Text(text) => Ok(text),
            Self::Number(_) | Self::Truth(_) | Self::List(_) | Self::Other(_) => {
                Err(format!("{} is not a text in quotes", self.quoted()))
            }
        }
    }

    /// The digits, if it may be taken as a number.
    fn number(&self) -> Result<&str, String> {
        match self {
            Self::Variable(text) | Self::Number(text) => Ok(text),
            Self::Text(_) | Self::Truth(_) | Self::List(_) | Self::Other(_) => {
                Err(format!("{} is not a plain number", self.quoted()))
            }
        }
    }

    /// The value for a message: short, and without characters that would disturb a terminal.
    fn quoted(&self) -> String {
        match self {
            Self::Variable(text) | Self::Text(text) | Self::Number(text) => {
                let short: String = text.chars().take(60).flat_map(char::escape_debug).collect();
                format!("`{short}`")
            }
            Self::Truth(truth) => format!("`{truth}`"),
            Self::List(_) => "this list".to_owned(),
            Self::Other(kind) => format!("this {kind}"),
        }
    }
}

/// A kind of value.
pub(super) trait Kind {
    /// What it becomes.
    type Value;
    /// What it allows, to be read after "allowed:".
    fn allowed(&self) -> String;
    /// The value, or what is wrong with what was given.
    fn read(&self, given: &Given) -> Result<Self::Value, String>;
    /// The value as TOML writes it; `None` if there is none.
    fn show(&self, value: &Self::Value) -> Option<String>;
}

/// A text, quoted as TOML quotes it.
fn quote(text: impl Into<String>) -> String {
    toml::Value::String(text.into()).to_string()
}

/// One of a few words.
pub(super) struct Word<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Kind for Word<T> {
    type Value = T;

    fn allowed(&self) -> String {
        self.0.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, given: &Given) -> Result<T, String> {
        let text = given.text()?;
        let found = self.0.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| format!("{} is none of the words", given.quoted()))
    }

    fn show(&self, value: &T) -> Option<String> {
        self.0.iter().find(|(_, known)| known == value).map(|(word, _)| quote(*word))
    }
}

/// `true` or `false`.
pub(super) struct Truth;

impl Kind for Truth {
    type Value = bool;

    fn allowed(&self) -> String {
        "true, false".to_owned()
    }

    fn read(&self, given: &Given) -> Result<bool, String> {
        match given {
            Given::Truth(truth) => Ok(*truth),
            Given::Variable(text) if text == "true" => Ok(true),
            Given::Variable(text) if text == "false" => Ok(false),
            Given::Variable(_) | Given::Text(_) | Given::Number(_) | Given::List(_) | Given::Other(_) => {
                Err(format!("{} is neither", given.quoted()))
            }
        }
    }

    fn show(&self, value: &bool) -> Option<String> {
        Some(value.to_string())
    }
}

/// A whole number between two others.
pub(super) struct Whole<T>(pub(super) T, pub(super) T);

impl<T: Copy + Display + FromStr + PartialOrd> Kind for Whole<T> {
    type Value = T;

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.0, self.1)
    }

    fn read(&self, given: &Given) -> Result<T, String> {
        let digits = given.number()?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{} is not a whole number", given.quoted()));
        }
        match digits.parse() {
            Ok(value) if (self.0..=self.1).contains(&value) => Ok(value),
            Ok(_) | Err(_) => Err(format!("{} is out of bounds", given.quoted())),
        }
    }

    fn show(&self, value: &T) -> Option<String> {
        Some(value.to_string())
    }
}

/// A length of time between two others.
pub(super) struct Span(pub(super) Duration, pub(super) Duration);

impl Kind for Span {
    type Value = Duration;

    fn allowed(&self) -> String {
        format!(
            "a whole number with ms, s, m, h or d, from {} to {}",
            duration::write(self.0),
            duration::write(self.1)
        )
    }

    fn read(&self, given: &Given) -> Result<Duration, String> {
        let value = duration::read(given.text()?)
            .ok_or_else(|| format!("{} is not a length of time", given.quoted()))?;
        if !(self.0..=self.1).contains(&value) {
            return Err(format!("{} is out of bounds", given.quoted()));
        }
        Ok(value)
    }

    fn show(&self, value: &Duration) -> Option<String> {
        Some(quote(duration::write(*value)))
    }
}

/// An amount of disk, in bytes.
pub(super) struct Size;

impl Kind for Size {
    type Value = u64;

    fn allowed(&self) -> String {
        "a whole number with KiB, MiB, GiB or TiB, or 0".to_owned()
    }

    fn read(&self, given: &Given) -> Result<u64, String> {
        let text = given.text().or_else(|_| given.number())?;
        size::read(text).ok_or_else(|| format!("{} is not an amount of disk", given.quoted()))
    }

    fn show(&self, value: &u64) -> Option<String> {
        Some(quote(size::write(*value)))
    }
}

/// A fee rate, as a number or as text.
pub(super) struct Rate;

impl Kind for Rate {
    type Value = FeeRate;

    fn allowed(&self) -> String {
        format!("satoshis per byte from 0 to {}, at most three decimals", FeeRate::MAX.millisatoshis() / 1000)
    }

    fn read(&self, given: &Given) -> Result<FeeRate, String> {
        let digits = given.number().or_else(|_| given.text())?;
        digits.parse().map_err(|_| format!("{} is not a fee rate", given.quoted()))
    }

    fn show(&self, value: &FeeRate) -> Option<String> {
        Some(value.to_string())
    }
}

/// An address with a port to listen on.
pub(super) struct Listen;

impl Kind for Listen {
    type Value = SocketAddr;

    fn allowed(&self) -> String {
        "IP:PORT, such as 127.0.0.1:8090 or [::1]:8090; no names".to_owned()
    }

    fn read(&self, given: &Given) -> Result<SocketAddr, String> {
        given.text()?.parse().map_err(|_| format!("{} is not an address with a port", given.quoted()))
    }

    fn show(&self, value: &SocketAddr) -> Option<String> {
        Some(quote(value.to_string()))
    }
}

/// Addresses and networks: a list in the file, parted by commas in a variable.
pub(super) struct Networks;

impl Kind for Networks {
    type Value = Vec<IpNet>;

    fn allowed(&self) -> String {
        "a list of IP addresses and CIDR networks, in a variable parted by commas; \"\" for none".to_owned()
    }

    fn read(&self, given: &Given) -> Result<Vec<IpNet>, String> {
        let entries: Vec<&str> = match given {
            Given::List(entries) => entries.iter().map(String::as_str).collect(),
            Given::Variable(text) | Given::Text(text) if text.is_empty() => Vec::new(),
            Given::Variable(text) => text.split(',').collect(),
            Given::Text(_) | Given::Number(_) | Given::Truth(_) | Given::Other(_) => {
                return Err(format!("{} is not a list in brackets", given.quoted()));
            }
        };
        let network = |entry: &str| {
            let network = entry.trim().parse().or_else(|_| entry.trim().parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| {
                format!("{} is neither an address nor a network", Given::Text(entry.to_owned()).quoted())
            })
        };
        entries.into_iter().map(network).collect()
    }

    fn show(&self, value: &Vec<IpNet>) -> Option<String> {
        let texts: Vec<String> = value.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| toml::Value::from(texts).to_string())
    }
}

/// The path of a file or a folder.
pub(super) struct FilePath;

impl Kind for FilePath {
    type Value = PathBuf;

    fn allowed(&self) -> String {
        "a path".to_owned()
    }

    fn read(&self, given: &Given) -> Result<PathBuf, String> {
        let text = given.text()?;
        if text.is_empty() || text.contains(char::is_control) {
            return Err(format!("{} is not a path", given.quoted()));
        }
        Ok(PathBuf::from(text))
    }

    fn show(&self, value: &PathBuf) -> Option<String> {
        Some(quote(value.to_string_lossy()))
    }
}

/// The user name of HTTP's basic authentication.
pub(super) struct UserName;

impl Kind for UserName {
    type Value = String;

    fn allowed(&self) -> String {
        "a name without a colon".to_owned()
    }

    fn read(&self, given: &Given) -> Result<String, String> {
        let text = given.text()?;
        if text.contains(':') {
            // Likely a pair of name and password: not a thing to repeat.
            return Err("there is a colon in it; the password has a file of its own".to_owned());
        }
        if text.is_empty() || text.contains(char::is_control) {
            return Err(format!("{} is not a name", given.quoted()));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(quote(value.as_str()))
    }
}

/// An absolute HTTP address.
pub(super) struct HttpUrl {
    /// The schemes it may have.
    pub(super) schemes: &'static [&'static str],
    /// Whether a path may follow the host.
    pub(super) path: bool,
}

impl Kind for HttpUrl {
    type Value = String;

    fn allowed(&self) -> String {
        let starts: Vec<_> = self.schemes.iter().map(|scheme| format!("{scheme}://")).collect();
        let path = if self.path { "HOST[:PORT][/PATH]" } else { "HOST[:PORT]" };
        format!("{} and {path}; no slash at the end, no query, no fragment, no user", starts.join(" or "))
    }

    fn read(&self, given: &Given) -> Result<String, String> {
        let text = given.text()?;
        if text.contains('@') {
            // There may be a password in it: not a thing to repeat.
            return Err("there is a user or a password in it".to_owned());
        }
        let refuse = |why: &str| Err(format!("{} {why}", given.quoted()));
        if text.contains('?') {
            return refuse("has a query");
        }
        if text.contains('#') {
            return refuse("has a fragment");
        }
        if text.ends_with('/') {
            return refuse("ends in a slash");
        }
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse("is not an address");
        };
        let scheme_is_known = uri.scheme_str().is_some_and(|scheme| self.schemes.contains(&scheme));
        let Some(host) = uri.host().filter(|host| scheme_is_known && !host.is_empty()) else {
            return refuse("is not an absolute address of that kind");
        };
        // What follows the host must be read as a port, or there is none.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if uri.port_u16().is_none() && authority != host {
            return refuse("has a port that is none");
        }
        if !self.path && uri.path() != "/" {
            return refuse("has a path");
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(quote(value.as_str()))
    }
}

/// A place where the node publishes.
pub(super) struct Endpoint;

impl Kind for Endpoint {
    type Value = String;

    fn allowed(&self) -> String {
        "tcp://HOST:PORT or ipc:///PATH".to_owned()
    }

    fn read(&self, given: &Given) -> Result<String, String> {
        let text = given.text()?;
        let sound = if let Some(address) = text.strip_prefix("tcp://") {
            address.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
                let digits = port.bytes().all(|byte| byte.is_ascii_digit());
                let named = !host.is_empty() && !host.contains([':', '/', '*', '[', ']', ';', '@']);
                (named || bracketed) && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
        } else if let Some(path) = text.strip_prefix("ipc://") {
            path.starts_with('/')
        } else {
            false
        };
        if !sound || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(format!("{} is not a place to connect to", given.quoted()));
        }
        Ok(text.to_owned())
    }

    fn show(&self, value: &String) -> Option<String> {
        Some(quote(value.as_str()))
    }
}

/// A value that need not be there. An empty text takes it away, so that a variable can undo the file.
pub(super) struct Maybe<K>(pub(super) K);

impl<K: Kind> Kind for Maybe<K> {
    type Value = Option<K::Value>;

    fn allowed(&self) -> String {
        format!("{}; \"\" for none", self.0.allowed())
    }

    fn read(&self, given: &Given) -> Result<Self::Value, String> {
        if given.text().is_ok_and(str::is_empty) {
            return Ok(None);
        }
        self.0.read(given).map(Some)
    }

    fn show(&self, value: &Self::Value) -> Option<String> {
        value.as_ref().and_then(|value| self.0.show(value))
    }
}
