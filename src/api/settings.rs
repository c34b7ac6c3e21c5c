//! What an operator decides about the interface: plain values, checked before they come here.

use std::time::Duration;

use super::proxies::TrustedProxies;
use crate::{
    bch::{FeeRate, Network},
    ledger::LogId,
};

/// What an operator decides about the interface.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// The network of every address and every transaction.
    pub network: Network,
    /// The event log that is served: every snapshot and every event names it.
    pub log: LogId,
    /// How the world reaches us, without a slash at its end, such as `https://pay.example`.
    pub public_url: String,
    /// Whether an invoice can be created without a key.
    pub open_creation: bool,
    /// How long an invoice is open if its creator says nothing.
    pub default_expiry: Duration,
    /// How long it is open at most.
    pub max_expiry: Duration,
    /// How many outputs an invoice can ask for, and how many refunds a payer.
    pub max_outputs: usize,
    /// The least fee rate of a submission if the creator says nothing. Less than the node relays is never asked.
    pub fee_rate: FeeRate,
    /// The confirmations to wait for if the creator says nothing.
    pub confirmations_required: u8,
    /// Whether everybody sees an invoice's `merchant_data`.
    pub public_merchant_data: bool,
    /// The proxies whose word about a client's address counts.
    pub trusted_proxies: TrustedProxies,
    /// What a client can make us spend.
    pub limits: Limits,
}

/// What a client can make us spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest body of a creation, in bytes; other bodies are smaller.
    pub max_body_bytes: usize,
    /// How many connections are served at once, sockets not among them.
    pub max_connections: usize,
    /// How many of them of one client; 0 for no limit.
    pub max_connections_per_address: usize,
    /// How many sockets there are at once.
    pub max_sockets: usize,
    /// How many of them of one client; 0 for no limit.
    pub max_sockets_per_address: usize,
    /// How often one client can ask for a verification, or for what to pay, in a minute; 0 for no limit.
    pub verify_per_minute: u32,
    /// How often one client can submit a payment in a minute; 0 for no limit.
    pub pay_per_minute: u32,
    /// How often one client, or the holder of one key, can create an invoice in a minute; 0 for no limit.
    pub create_per_minute: u32,
    /// How long the head of a request may take from its first byte, and a new connection until then.
    pub header_timeout: Duration,
    /// How long a request may take from the end of its head to its answer, the arrival of its body included.
    pub request_timeout: Duration,
    /// How long a connection is kept for its next request, and how long a client may leave an answer unread.
    pub idle_timeout: Duration,
    /// How long the reader of a socket may take for a message.
    pub socket_write_timeout: Duration,
    /// How often the reader of a socket is asked whether it is there; it has until the next time to answer.
    pub socket_ping_interval: Duration,
}

impl Default for Limits {
    /// Those of a configuration that says nothing.
    fn default() -> Self {
        Self {
            max_body_bytes: 1 << 20,
            max_connections: 4096,
            max_connections_per_address: 64,
            max_sockets: 10_000,
            max_sockets_per_address: 100,
            verify_per_minute: 120,
            pay_per_minute: 60,
            create_per_minute: 600,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            socket_write_timeout: Duration::from_secs(10),
            socket_ping_interval: Duration::from_secs(30),
        }
    }
}
