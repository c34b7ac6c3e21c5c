//! The table of keys. Everything that names a key, names it from here.

use std::{fmt::Write as _, time::Duration};

use super::{
    sections::{Config, SharedOutputs},
    value::{
        Endpoint, FilePath, Given, HttpUrl, Kind as _, Listen, Maybe, Networks, Rate, Size, Span, Truth,
        UserName, Whole, Word,
    },
};
use crate::{bch::Network, store::Creation};

/// One key of the configuration.
pub struct Key {
    /// The section it stands in.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    allowed: fn() -> String,
    set: fn(&mut Config, &Given) -> Result<(), String>,
    show: fn(&Config) -> Option<String>,
}

impl Key {
    /// The key as messages write it: `http.listen`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it: `JPPD_HTTP__LISTEN`.
    pub fn variable(&self) -> String {
        format!("JPPD_{}__{}", self.section, self.name).to_ascii_uppercase()
    }

    /// What it allows.
    pub fn allowed(&self) -> String {
        (self.allowed)()
    }

    /// Its value in a configuration, as TOML writes it; `None` if it has none.
    pub fn show(&self, config: &Config) -> Option<String> {
        (self.show)(config)
    }

    /// Puts a value into a configuration, or says what is wrong with it.
    pub(super) fn set(&self, config: &mut Config, given: &Given) -> Result<(), String> {
        (self.set)(config, given)
    }
}

/// The key of a name, if there is one.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section == section && key.name == name)
}

/// The sections, in the order of the table.
pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// The table of `docs/OPERATIONS.md`.
pub fn markdown_table() -> String {
    let defaults = Config::default();
    let mut table = String::from(
        "| key | variable | default | allowed | what it is |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in KEYS {
        let default = key.show(&defaults).map_or_else(|| "none".to_owned(), |value| format!("`{value}`"));
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | `{}` | {default} | {} | {} |",
            key.path(),
            key.variable(),
            key.allowed(),
            key.about
        );
    }
    table
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// A line of the table. The field of the struct has the name of the key.
macro_rules! key {
    ($section:ident . $name:ident, $kind:expr, $about:literal) => {
        Key {
            section: stringify!($section),
            name: stringify!($name),
            about: $about,
            allowed: || $kind.allowed(),
            set: |config, given| {
                config.$section.$name = $kind.read(given)?;
                Ok(())
            },
            show: |config| $kind.show(&config.$section.$name),
        }
    };
}

const NETWORKS: Word<Network> = Word(&[
    ("main", Network::Main),
    ("test3", Network::Test3),
    ("test4", Network::Test4),
    ("scale", Network::Scale),
    ("chip", Network::Chip),
    ("regtest", Network::Regtest),
]);

const CREATIONS: Word<Creation> = Word(&[("first", Creation::First), ("never", Creation::Never)]);

const SHARED: Word<SharedOutputs> = Word(&[("flag", SharedOutputs::Flag), ("refuse", SharedOutputs::Refuse)]);

const RPC_URL: Maybe<HttpUrl> = Maybe(HttpUrl { schemes: &["http"], path: false });

const PUBLIC_URL: Maybe<HttpUrl> = Maybe(HttpUrl { schemes: &["https", "http"], path: true });

/// Every key there is, section by section.
pub const KEYS: &[Key] = &[
    key!(node.network, NETWORKS, "the network the node is on"),
    key!(node.rpc_url, RPC_URL, "the node's RPC; without it, the network's own port on this machine"),
    key!(node.rpc_cookie_file, Maybe(FilePath), "the node's cookie, read again when the node refuses it"),
    key!(node.rpc_user, Maybe(UserName), "the RPC user, instead of the cookie"),
    key!(node.rpc_password_file, Maybe(FilePath), "the file whose first line is that user's password"),
    key!(node.zmq_rawtx, Maybe(Endpoint), "where the node publishes `rawtx`"),
    key!(node.zmq_hashblock, Maybe(Endpoint), "where the node publishes `hashblock`"),
    key!(node.zmq_hashds, Maybe(Endpoint), "where the node publishes `hashds`"),
    key!(
        follow.heartbeat,
        Span(Duration::from_millis(100), seconds(60)),
        "the shortest pause between two passes over chain and mempool"
    ),
    key!(
        follow.rebroadcast,
        Truth,
        "whether a payment that left the mempool is sent again before it is taken for lost"
    ),
    key!(
        follow.audit_every,
        Span(seconds(0), days(365)),
        "how often the books are compared with the node; 0s for never"
    ),
    key!(store.path, FilePath, "the folder of the database"),
    key!(store.create, CREATIONS, "whether a missing database is made: `never` stops the start instead"),
    key!(store.min_free, Size, "the free disk below which no invoice is created; 0 for none"),
    key!(http.listen, Listen, "where wallets and merchants are answered"),
    key!(http.public_url, PUBLIC_URL, "the same as the world sees it; without it, `http://` and `listen`"),
    key!(http.api_keys_file, Maybe(FilePath), "the merchants' keys, by their SHA-256"),
    key!(http.open_creation, Truth, "whether anybody may create invoices without a key"),
    key!(
        http.trusted_proxies,
        Networks,
        "the proxies whose `X-Forwarded-For` or `Forwarded` names the client"
    ),
    key!(ops.listen, Listen, "where health, readiness and metrics are answered"),
    key!(
        jpp.signing_key_file,
        Maybe(FilePath),
        "the keys that sign JPP answers; without it they go unsigned"
    ),
    key!(
        jpp.signatures_folder,
        Maybe(FilePath),
        "the folder with the GPG signatures over the published keys"
    ),
    key!(
        bip70.certificate_file,
        Maybe(FilePath),
        "the certificates that sign BIP70 requests, the domain's first"
    ),
    key!(bip70.key_file, Maybe(FilePath), "the RSA key of the first certificate"),
    key!(
        invoice.default_expiry,
        Span(seconds(1), days(365)),
        "how long an invoice is open if nothing else is asked"
    ),
    key!(invoice.max_expiry, Span(seconds(1), days(365)), "the longest that can be asked"),
    key!(
        invoice.submission_grace,
        Span(seconds(0), seconds(3600)),
        "how long after its end a submission is in time"
    ),
    key!(
        invoice.late_window,
        Span(seconds(0), days(365)),
        "how long after its end a late payment is recognised"
    ),
    key!(invoice.max_outputs, Whole(1, 2000), "the outputs one invoice may ask for"),
    key!(
        invoice.required_fee_per_byte,
        Rate,
        "the fee a payment must offer, and never less than the node relays"
    ),
    key!(invoice.confirmations_required, Whole(0, 100), "the confirmations that make a payment final"),
    key!(invoice.shared_outputs, SHARED, "what to do when two live invoices ask for the same output"),
    key!(invoice.public_merchant_data, Truth, "whether everybody may read `merchant_data`"),
    key!(invoice.retention, Span(seconds(0), days(36_500)), "how long an ended invoice stays in the indexes"),
    key!(limits.max_body_bytes, Whole(262_144, 33_554_432), "the longest body of a creation"),
    key!(limits.max_connections, Whole(1, 1_000_000), "open HTTP connections, sockets not counted"),
    key!(limits.max_connections_per_address, Whole(0, 1_000_000), "those of one client; 0 for no limit"),
    key!(limits.max_sockets, Whole(1, 1_000_000), "open sockets"),
    key!(limits.max_sockets_per_address, Whole(0, 1_000_000), "open sockets of one client; 0 for no limit"),
    key!(limits.max_submissions, Whole(1, 1_000_000), "submissions and verifications under way at once"),
    key!(limits.max_open_claims, Whole(1, 10_000), "submissions for one invoice without the node's word"),
    key!(limits.verify_per_minute, Whole(0, 1_000_000), "calls of `verify` by one client; 0 for no limit"),
    key!(limits.pay_per_minute, Whole(0, 1_000_000), "calls of `pay` by one client; 0 for no limit"),
    key!(
        limits.create_per_minute,
        Whole(0, 1_000_000),
        "creations by one client or with one key; 0 for no limit"
    ),
    key!(limits.header_timeout, Span(seconds(1), seconds(300)), "how long a request's head may take"),
    key!(limits.request_timeout, Span(seconds(1), seconds(300)), "how long a request may take in all"),
    key!(
        limits.idle_timeout,
        Span(seconds(1), seconds(3600)),
        "how long a connection may rest between requests"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields of the structs as `Debug` lists them, so that a new field without a line in the table fails.
    fn fields() -> Vec<String> {
        let mut section = "";
        let mut fields = Vec::new();
        let shown = format!("{:#?}", Config::default());
        for line in shown.lines() {
            let depth = line.len() - line.trim_start().len();
            let Some((name, _)) = line.trim().split_once(": ") else { continue };
            match depth {
                4 => section = name,
                8 => fields.push(format!("{section}.{name}")),
                _ => {}
            }
        }
        fields
    }

    #[test]
    fn the_table_and_the_structs_agree() {
        assert_eq!(KEYS.iter().map(Key::path).collect::<Vec<_>>(), fields());
    }

    #[test]
    fn the_words_of_the_networks_are_all_there() {
        let known: Vec<_> = NETWORKS.0.iter().map(|(_, network)| *network).collect();
        assert_eq!(known, Network::ALL);
        for (word, network) in NETWORKS.0 {
            assert_eq!(word.parse(), Ok(*network));
        }
    }

    #[test]
    fn every_default_is_allowed() {
        let mut config = Config::default();
        for key in KEYS {
            let Some(value) = key.show(&Config::default()) else { continue };
            let text = value.trim_matches('"').to_owned();
            key.set(&mut config, &Given::Variable(text)).unwrap();
        }
        assert_eq!(config, Config::default());
    }

    #[test]
    fn the_operators_document_has_the_table() {
        let document =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/OPERATIONS.md")).unwrap();
        let table = markdown_table();
        assert!(document.contains(&table), "docs/OPERATIONS.md must hold exactly this table:\n\n{table}");
    }
}
