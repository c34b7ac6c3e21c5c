//! What a configuration is: one struct per section, plain values, and the defaults.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ipnet::IpNet;

use crate::{
    bch::{FeeRate, Network},
    store::Creation,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Everything an operator can decide. Made by [`super::Loaded::read`]; the defaults alone lack credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[node]`: where the node is and how to talk to it.
    pub node: NodeConfig,
    /// `[follow]`: how the node is followed.
    pub follow: FollowConfig,
    /// `[store]`: where the data is.
    pub store: StoreConfig,
    /// `[http]`: what wallets and merchants reach.
    pub http: HttpConfig,
    /// `[ops]`: what the operator reaches.
    pub ops: OpsConfig,
    /// `[jpp]`: who signs JPP answers.
    pub jpp: JppConfig,
    /// `[bip70]`: who signs BIP70 requests.
    pub bip70: Bip70Config,
    /// `[invoice]`: the terms of an invoice.
    pub invoice: InvoiceConfig,
    /// `[limits]`: how much anybody may ask for.
    pub limits: LimitsConfig,
}

/// `[node]`: where the node is and how to talk to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// The network the node is on.
    pub network: Network,
    /// The node's RPC address as given; [`NodeConfig::rpc_url`] is the one in effect.
    pub rpc_url: Option<String>,
    /// The cookie the node writes at each start.
    pub rpc_cookie_file: Option<PathBuf>,
    /// The user of `rpcauth` or `rpcuser`, where there is no cookie to read.
    pub rpc_user: Option<String>,
    /// The file whose first line is that user's password.
    pub rpc_password_file: Option<PathBuf>,
    /// Where the node publishes `rawtx`; none if payments shall be found by the heartbeat alone.
    pub zmq_rawtx: Option<String>,
    /// Where the node publishes `hashblock`.
    pub zmq_hashblock: Option<String>,
    /// Where the node publishes `hashds`, its double spend notices.
    pub zmq_hashds: Option<String>,
}

/// How jppd proves to the node who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// By the node's cookie, to be read again whenever the node refuses it.
    Cookie(&'a PathBuf),
    /// By a user and the password in a file.
    Password {
        /// The user's name.
        user: &'a str,
        /// The file with the password, see [`super::read_password`].
        file: &'a PathBuf,
    },
}

/// `[follow]`: how the node is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowConfig {
    /// The shortest pause between two passes over chain and mempool when nothing calls for one earlier.
    pub heartbeat: Duration,
    /// Whether a payment that left the mempool is sent to the node again before it is taken for lost.
    pub rebroadcast: bool,
    /// How often the books are compared with the node; zero for never.
    pub audit_every: Duration,
}

/// `[store]`: where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder of the database.
    pub path: PathBuf,
    /// Whether a missing store is made.
    pub create: Creation,
    /// The free disk below which no invoice is created, in bytes; 0 for none.
    pub min_free: u64,
}

/// `[http]`: what wallets and merchants reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// The address the API listens on.
    pub listen: SocketAddr,
    /// The address as the world writes it, as given; [`HttpConfig::public_url`] is the one in effect.
    pub public_url: Option<String>,
    /// The file with the merchants' keys.
    pub api_keys_file: Option<PathBuf>,
    /// Whether anybody may create invoices, without a key.
    pub open_creation: bool,
    /// The proxies whose word about a client's address counts.
    pub trusted_proxies: Vec<IpNet>,
}

/// `[ops]`: what the operator reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpsConfig {
    /// The address that health, readiness and metrics listen on.
    pub listen: SocketAddr,
}

/// `[jpp]`: who signs JPP answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JppConfig {
    /// The file with the keys that sign, and what is published with them.
    pub signing_key_file: Option<PathBuf>,
    /// The folder with the GPG signatures over the published keys.
    pub signatures_folder: Option<PathBuf>,
}

/// `[bip70]`: who signs BIP70 requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bip70Config {
    /// The chain of certificates, the domain's own first.
    pub certificate_file: Option<PathBuf>,
    /// The key of the first certificate.
    pub key_file: Option<PathBuf>,
}

/// What happens when two live invoices ask for the same output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedOutputs {
    /// The invoice is made and marked; who paid is a best guess.
    #[default]
    Flag,
    /// The invoice is refused.
    Refuse,
}

/// `[invoice]`: the terms of an invoice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoiceConfig {
    /// How long an invoice is open if its creator does not say.
    pub default_expiry: Duration,
    /// How long it may be open at most.
    pub max_expiry: Duration,
    /// How long after its end a submission still counts as in time.
    pub submission_grace: Duration,
    /// How long after its end a payment is still recognised.
    pub late_window: Duration,
    /// How many outputs one invoice may ask for.
    pub max_outputs: usize,
    /// The fee a paying transaction must offer; no less than what the node relays is asked in any case.
    pub required_fee_per_byte: FeeRate,
    /// The confirmations that make a payment final.
    pub confirmations_required: u32,
    /// What happens when two live invoices ask for the same output.
    pub shared_outputs: SharedOutputs,
    /// Whether everybody may read `merchant_data`.
    pub public_merchant_data: bool,
    /// How long an ended invoice stays in the indexes. No record is ever deleted.
    pub retention: Duration,
}

/// `[limits]`: how much anybody may ask for. Where it says so, 0 is "no limit".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// The longest request body, in bytes.
    pub max_body_bytes: usize,
    /// Open HTTP connections, sockets not counted.
    pub max_connections: usize,
    /// Open HTTP connections of one client, sockets not counted; 0 is no limit.
    pub max_connections_per_address: usize,
    /// Open sockets.
    pub max_sockets: usize,
    /// Open sockets of one client; 0 is no limit.
    pub max_sockets_per_address: usize,
    /// Submissions and verifications under way at once.
    pub max_submissions: usize,
    /// Submissions for one invoice that are on record and wait for the node's word.
    pub max_open_claims: u32,
    /// Calls of `verify`, and of JPP's `payment-request`, by one client in a minute; 0 is no limit.
    pub verify_per_minute: u32,
    /// Calls of `pay` by one client in a minute; 0 is no limit.
    pub pay_per_minute: u32,
    /// Creations by one client, or by the holder of one key, in a minute; 0 is no limit.
    pub create_per_minute: u32,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long a request may take, from its head to its answer.
    pub request_timeout: Duration,
    /// How long a connection may be silent between two requests.
    pub idle_timeout: Duration,
}

impl NodeConfig {
    /// The node's RPC address: the one given, or the network's own port on this machine.
    pub fn rpc_url(&self) -> String {
        self.rpc_url.clone().unwrap_or_else(|| format!("http://127.0.0.1:{}", default_rpc_port(self.network)))
    }

    /// How to prove who we are; `None` if neither way is complete, which no checked configuration is.
    pub fn credentials(&self) -> Option<Credentials<'_>> {
        match (&self.rpc_cookie_file, &self.rpc_user, &self.rpc_password_file) {
            (Some(cookie), None, None) => Some(Credentials::Cookie(cookie)),
            (None, Some(user), Some(file)) => Some(Credentials::Password { user, file }),
            _ => None,
        }
    }
}

impl HttpConfig {
    /// The address as the world writes it, without a slash at the end: the one given, or where we listen.
    pub fn public_url(&self) -> String {
        self.public_url.clone().unwrap_or_else(|| {
            let mut listen = self.listen;
            if listen.ip().is_unspecified() {
                listen.set_ip(match listen.ip() {
                    IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
                });
            }
            format!("http://{listen}")
        })
    }
}

/// The port on which Bitcoin Cash Node answers RPC when nothing else is said.
pub(super) fn default_rpc_port(network: Network) -> u16 {
    match network {
        Network::Main => 8332,
        Network::Test3 => 18332,
        Network::Test4 => 28332,
        Network::Scale => 38332,
        Network::Chip => 48332,
        Network::Regtest => 18443,
    }
}

impl Default for NodeConfig {
    /// Ports away from the RPC ports of the test networks: test4 answers on 28332, where many publish ZMQ.
    fn default() -> Self {
        Self {
            network: Network::Main,
            rpc_url: None,
            rpc_cookie_file: None,
            rpc_user: None,
            rpc_password_file: None,
            zmq_rawtx: Some("tcp://127.0.0.1:28335".to_owned()),
            zmq_hashblock: Some("tcp://127.0.0.1:28336".to_owned()),
            zmq_hashds: Some("tcp://127.0.0.1:28337".to_owned()),
        }
    }
}

impl Default for FollowConfig {
    fn default() -> Self {
        Self { heartbeat: Duration::from_secs(1), rebroadcast: true, audit_every: 6 * 60 * MINUTE }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: PathBuf::from("/var/lib/jppd/store"), create: Creation::First, min_free: 1 << 30 }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8090)),
            public_url: None,
            api_keys_file: None,
            open_creation: false,
            trusted_proxies: Vec::new(),
        }
    }
}

impl Default for OpsConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8091)) }
    }
}

impl Default for InvoiceConfig {
    fn default() -> Self {
        Self {
            default_expiry: 30 * MINUTE,
            max_expiry: 30 * DAY,
            submission_grace: Duration::from_secs(30),
            late_window: 7 * DAY,
            max_outputs: 100,
            required_fee_per_byte: FeeRate::ZERO,
            confirmations_required: 1,
            shared_outputs: SharedOutputs::Flag,
            public_merchant_data: false,
            retention: 90 * DAY,
        }
    }
}

impl Default for LimitsConfig {
    /// A body holds a transaction of 100,000 bytes in hex and what stands around it, with room to spare.
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_connections: 4096,
            max_connections_per_address: 64,
            max_sockets: 10_000,
            max_sockets_per_address: 100,
            max_submissions: 10_000,
            max_open_claims: 16,
            verify_per_minute: 120,
            pay_per_minute: 60,
            create_per_minute: 600,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_its_port() {
        let table = [
            (Network::Main, "http://127.0.0.1:8332"),
            (Network::Test3, "http://127.0.0.1:18332"),
            (Network::Test4, "http://127.0.0.1:28332"),
            (Network::Scale, "http://127.0.0.1:38332"),
            (Network::Chip, "http://127.0.0.1:48332"),
            (Network::Regtest, "http://127.0.0.1:18443"),
        ];
        for (network, url) in table {
            assert_eq!(NodeConfig { network, ..NodeConfig::default() }.rpc_url(), url);
        }
        let given = NodeConfig { rpc_url: Some("http://node:1".into()), ..NodeConfig::default() };
        assert_eq!(given.rpc_url(), "http://node:1");
    }

    #[test]
    fn public_url_falls_back_to_where_we_listen() {
        let at = |listen: &str| HttpConfig { listen: listen.parse().unwrap(), ..HttpConfig::default() };
        assert_eq!(at("127.0.0.1:8090").public_url(), "http://127.0.0.1:8090");
        assert_eq!(at("0.0.0.0:80").public_url(), "http://127.0.0.1:80");
        assert_eq!(at("[::]:80").public_url(), "http://[::1]:80");
    }
}
