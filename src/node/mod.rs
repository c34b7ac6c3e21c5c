//! The Bitcoin Cash node as a typed client: RPC and ZMQ.
//!
//! Floor 3. It knows no invoice.
//!
//! # What pulls in different directions
//!
//! * **Freshness against load.** Every payment wants to be seen at once, and the node executes calls one by one
//!   behind a queue of sixteen. A client that asks as fast as it can answers nobody.
//! * **Following against submitting.** Reading a 32 MB block or ten thousand transactions takes a second; a
//!   customer at a till who has just pressed "pay" must not stand behind it.
//! * **Retrying against honesty.** A read can be repeated at will. A broadcast whose answer was lost may have
//!   happened, and whoever holds the money's record has to know that it *may* have.
//! * **Speed of ZMQ against its silence.** ZMQ is there in a tenth of a millisecond, and loses messages without
//!   a word: at the node's high-water mark, while a connection is made, when the node dies.
//!
//! # What was chosen
//!
//! **RPC is the truth** ([`Rpc`]). A pool of at most four threads, each with one connection; the pool *is* the
//! budget of calls in flight, and [`Lane`] decides who gets a thread: following never holds more than half of
//! them. What can be asked is the closed list [`Request`]; a method that is not there cannot be called, and both
//! [`Request`] and [`Reply`] are plain data, so that a simulator answers them as well as a node does.
//! [`NodeError::effect_possible`] tells a failed broadcast that did not happen from one that may have.
//!
//! The calls and their errors are those of `bitcoincore-rpc`; its typed getters are not used, because they expect
//! the replies of Bitcoin Core (a third of them does not fit this node). The socket beneath them is ours
//! (`transport`), behind the same `jsonrpc::Transport` trait: the transport that comes with the crate writes
//! a request a second time when no answer came, so that "nothing was sent" and "it was sent twice" look alike; its
//! time-out is one per read and not one per call; and a connection lost within the headers keeps it spinning.
//!
//! **ZMQ is a hint** ([`Subscriber`]). One thread receives and does nothing else: it puts [`Signal`]s into a bounded
//! channel and never waits for a reader. Whatever makes the stream incomplete (a gap in the numbers, a connection
//! that came or went, a full channel) is a signal of its own; what to do about it is decided two floors up.
//!
//! # Files
//!
//! `call` what can be asked and answered · `error` what can go wrong and whose fault it is · `amount`, `wire`
//! the node's JSON · `credentials` cookie and password · `transport` one HTTP connection with a deadline ·
//! `client` one worker's client · `clock` the node's clock · `lanes` the budget · `rpc` the pool · `meters` counters · `zmq` signals.

mod amount;
mod call;
mod client;
mod clock;
mod credentials;
mod error;
mod lanes;
mod meters;
mod rpc;
mod transport;
mod wire;
pub mod zmq;

#[cfg(test)]
mod bitcoind_test;
#[cfg(test)]
mod rpc_test;
#[cfg(test)]
mod stub;

pub use call::{
    ChainInfo, ChainTip, ChainTips, Coin, DoubleSpendProof, Header, MempoolEntry, NetworkInfo, Notification,
    Reply, Request, SendOutcome, Snapshot, UnspentCoin,
};
pub use credentials::Auth;
pub use error::{NodeError, StartError};
pub use lanes::{Asker, Lane};
pub use rpc::{Rpc, RpcSettings};
pub use zmq::{Connections, Signal, Signals, Subscriber, Topic, ZmqSettings};
