//! What goes wrong around the daemon, made to go wrong: the real program, real sockets, a real node where there is
//! one.
//!
//! - `answers`: something answers in the node's place, and wrong.
//! - `fees`: the node relays nothing below a higher fee, and its mempool is full.
//! - `kill`: the daemon is killed at random moments under a stream of payments.
//! - `node`: the node is restarted under that stream; its mempool is lost; its cookie changes; its chain is made anew.
//! - `clocks`: the machine's clock, or the node's, is wrong.
//! - `chain`: blocks are made invalid, valid again, and parked.
//! - `signals`: a large block while the daemon is stopped; ports are cut off, connections stall; IPv6; nothing at a port.
//! - `proofs`: a double spend between two nodes, told by proof.
//! - `pruned`: the node deleted blocks that were not walked yet.
//! - `disk`: a log that is cut, a disk that is full or nearly so.
//! - `watchdog`: the engine's thread hangs or ends, the disk hangs, the node is away, and systemd is told or not.
//!
//! What only a real node does (parking, peers, pruning) is skipped by name where there is none. What is random follows from a
//! seed that is printed; `JPPD_SEED` repeats it.

mod answers;
mod chain;
mod clocks;
mod disk;
mod fees;
mod kill;
mod node;
mod proofs;
mod pruned;
mod signals;
mod stream;
mod watchdog;

use std::{path::Path, sync::Arc};

use anyhow::Result;
use regtest::{Node, Shop};

/// The program that is tried.
fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_jppd"))
}

async fn open(node: Arc<dyn Node>) -> Result<Shop> {
    Shop::open(program(), node, &[]).await
}
