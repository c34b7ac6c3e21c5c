//! A Bitcoin Cash node on tap, for the tests and the demo of `jppd`.
//!
//! A payment sidecar is only as good as its idea of the node beside it, so what is tested against a stand-in must hold
//! against the real thing. Both stand behind one trait, [`Node`]: the stand-in [`SimNode`], inside the test's process,
//! with real JSON-RPC and real ZMQ on loopback and switches for what goes wrong ([`Faults`]); and [`Bchn`], a
//! `bitcoind -regtest` started as a child. A third, [`External`], is one that runs in a container. [`nodes`] hands a
//! test one of each kind this machine has, and says which is missing.
//!
//! # Layout
//!
//! * [`chain`]: the rules, without I/O: blocks, coins, mempool, double spend proofs, and the order of events
//! * [`sim`]: the servers around it, and the faults
//! * [`bchn`]: the runner of the real node
//! * [`node`]: the trait, a harness for what goes beyond it, and the choice of nodes
//! * [`wallet`]: keys and coins that sign, for either; [`purse`]: a wallet with coins beside a node
//! * [`daemon`], [`client`]: `jppd` as a child beside a node, and what talks to it; [`shop`]: all of them together
//! * [`wait`], [`subscriber`], [`port`]: waiting for events, hearing all messages, ports of one's own: what a test needs to
//!   count on no time and no luck
//!
//! The suite in `tests/conformance` runs the same checks against stand-in and real node and compares the answers.
//! `docker-compose.yml` and `docker-test` do with a container what `BITCOIND` does with a program.

pub mod bchn;
pub mod chain;
pub mod client;
pub mod daemon;
pub mod node;
pub mod port;
pub mod purse;
pub mod shop;
pub mod sim;
pub mod subscriber;
pub mod wait;
pub mod wallet;

pub use bchn::Bchn;
pub use client::{Client, Socket};
pub use daemon::Daemon;
pub use node::{External, Kind, Node, RpcFailure, fresh_nodes, nodes, silent_nodes};
pub use port::Port;
pub use purse::Purse;
pub use shop::Shop;
pub use sim::{Faults, RpcFault, SimClock, SimNode, SimOptions, SimPlace, Topic};
pub use subscriber::Subscriber;
pub use wait::eventually;
