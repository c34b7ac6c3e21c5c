//! `jppd`: takes Bitcoin Cash payments with nothing but your own node.
//!
//! Two streams enter: what the node says (ZMQ, RPC) and what wallets and merchants ask (HTTP). One stream leaves:
//! events. Everything between is one state machine.
//!
//! # Layout
//!
//! The rooms, from the ground up. A room uses what stands below it, never what stands above, and rooms on one
//! floor do not use each other (`tests/architecture.rs` holds that).
//!
//! | floor | room | it is |
//! | --- | --- | --- |
//! | 0 | [`bch`] | the vocabulary of Bitcoin Cash: networks, addresses, scripts, tokens, transactions, fees |
//! | 1 | [`invoice`] | the domain: draft, invoice, credit, standing; which output pays what |
//! | 2 | [`ledger`] | the state machine `apply(view, input) -> changes`, without I/O or clock |
//! | 3 | [`store`] | RocksDB behind the ledger's view: tables, codec, one atomic write |
//! | 3 | [`node`] | the node as a typed client: RPC with a budget, ZMQ on a thread that only receives |
//! | 4 | [`engine`] | the one writer: batch, apply, commit, answer, publish |
//! | 5 | [`follow`] | makes the node's signals complete: snapshot, heartbeat, block walk |
//! | 5 | [`submit`] | the one way of a submission: checks, claim, broadcast, credit or release |
//! | 5 | [`audit`] | compares the books with the node |
//! | 5 | [`notify`] | from the event log to those who listen |
//! | 6 | [`api`] | HTTP and WebSocket, one file per dialect |
//! | 7 | [`config`], [`cli`] | assembly |
//!
//! `docs/ARCHITECTURE.md` is the long form, with the invariants and what holds each of them.

pub mod api;
pub mod audit;
pub mod bch;
pub mod cli;
pub mod config;
pub mod engine;
pub mod follow;
pub mod invoice;
pub mod ledger;
pub mod node;
pub mod notify;
pub mod store;
pub mod submit;
