//! One trait for every node a test can run against.
//!
//! Three kinds of node stand behind [`Node`]: the stand-in of this crate (`sim`), a real `bitcoind -regtest` started
//! as a child (`bchn`), and a node that somebody else started, for instance in a container (`external`). A test body
//! takes `&dyn Node` and is run once for each of [`nodes`]; where there is no `bitcoind` the second run is announced
//! as skipped, so that a green run never hides that half of it did not happen.
//!
//! What a test needs from a node beyond its public face (send, mine, reorganise) is the provided half of the trait:
//! it goes through [`Node::call`], so it is the same code on every kind. Calls block; each takes about a millisecond.
//! The nodes live on threads or in processes of their own, so blocking in an asynchronous test stalls that test at
//! most, never the node.

mod assemble;
mod external;
mod rpc;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use bitcoincash::consensus::encode::serialize_hex;
use bitcoincash::{BlockHash, Script, Transaction, Txid};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::external::External;
pub use self::rpc::{RpcFailure, over_http};
use crate::bchn::Bchn;
use crate::sim::{SimNode, SimOptions, Topic};

/// A Bitcoin Cash node on regtest, with JSON-RPC and ZMQ on loopback.
pub trait Node: Send + Sync {
    /// Which kind this is: `SimNode`, `bchn` or `external`. For messages.
    fn name(&self) -> &'static str;

    /// Where JSON-RPC answers, as `http://host:port`.
    fn rpc_url(&self) -> String;

    /// The file with `user:password` for [`Node::rpc_url`]. The node writes it anew at each start.
    fn cookie_file(&self) -> PathBuf;

    /// The endpoint of topic `rawtx`, to connect a subscriber to.
    fn zmq_rawtx(&self) -> String;

    /// The endpoint of topic `hashblock`; never the same as that of `rawtx`.
    fn zmq_hashblock(&self) -> String;

    /// The endpoint of topic `hashds`; never the same as that of `rawtx`.
    fn zmq_hashds(&self) -> String;

    /// Calls any method of the node's RPC with positional parameters (an array, or `null` for none).
    ///
    /// Amounts come back as floating point numbers, as `serde_json` has them: read them from the raw reply where a
    /// satoshi matters.
    ///
    /// # Errors
    /// The node's own error, or [`RpcFailure::UNREACHABLE`] when no JSON-RPC answer came.
    fn call(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        over_http(&self.rpc_url(), &self.cookie_file(), method, &params)
    }

    /// Stops the node in order: the mempool is saved, the cookie file removed. Returns when it is down.
    ///
    /// # Errors
    /// When it does not go down, or cannot be controlled from here.
    fn stop(&self) -> io::Result<()>;

    /// Ends the node as SIGKILL does: nothing saved, the cookie file left behind.
    ///
    /// # Errors
    /// When it cannot be controlled from here.
    fn kill(&self) -> io::Result<()>;

    /// Starts a stopped or killed node again, on the same ports and data. Returns when RPC answers.
    ///
    /// # Errors
    /// When a port is taken meanwhile, or the node does not come up.
    fn start(&self) -> io::Result<()>;

    /// Sends a serialized transaction into the mempool.
    ///
    /// # Errors
    /// The node's reason, for instance -26 `txn-mempool-conflict (code 18)`.
    fn send(&self, raw: &[u8]) -> Result<Txid, RpcFailure> {
        parse(self.call("sendrawtransaction", json!([hex::encode(raw)]))?)
    }

    /// Mines `count` blocks with all that is in the mempool, paying the subsidy to `payout`. Oldest hash first.
    ///
    /// # Errors
    /// The node's own error; [`RpcFailure::UNUSABLE`] when `payout` has no address.
    fn mine(&self, count: u32, payout: &Script) -> Result<Vec<BlockHash>, RpcFailure> {
        parse(self.call("generatetoaddress", json!([count, assemble::address(payout)?]))?)
    }

    /// Mines one block on the tip with exactly `transactions`, whether the mempool knows them or not: this is how a
    /// payment is seen in a block first, and how a rival of a mempool transaction wins.
    ///
    /// # Errors
    /// The node's own error; [`RpcFailure::UNUSABLE`] with the node's reason when it does not take the block.
    fn mine_transactions(
        &self,
        transactions: &[Transaction],
        payout: &Script,
    ) -> Result<BlockHash, RpcFailure> {
        let (tip, height) = self.tip()?;
        let header = self.call("getblockheader", json!([tip.to_string()]))?;
        let median: u32 = parse(header["mediantime"].clone())?;
        let block = assemble::block(tip, height + 1, median, transactions, payout);
        let reason = self.call("submitblock", json!([serialize_hex(&block)]))?;
        if reason.is_null() {
            Ok(block.block_hash())
        } else {
            Err(RpcFailure::new(RpcFailure::UNUSABLE, format!("block not taken: {reason}")))
        }
    }

    /// Treats `block` as invalid from now on: it and what stands on it leave the chain.
    ///
    /// # Errors
    /// -5 when the node does not know the block.
    fn invalidate(&self, block: BlockHash) -> Result<(), RpcFailure> {
        self.call("invalidateblock", json!([block.to_string()])).map(drop)
    }

    /// Undoes [`Node::invalidate`].
    ///
    /// # Errors
    /// -5 when the node does not know the block.
    fn reconsider(&self, block: BlockHash) -> Result<(), RpcFailure> {
        self.call("reconsiderblock", json!([block.to_string()])).map(drop)
    }

    /// The transactions of the mempool, in the order they came in.
    ///
    /// # Errors
    /// [`RpcFailure::UNREACHABLE`] when the node is down.
    fn mempool(&self) -> Result<Vec<Txid>, RpcFailure> {
        parse(self.call("getrawmempool", json!([]))?)
    }

    /// The best block and its height.
    ///
    /// # Errors
    /// [`RpcFailure::UNREACHABLE`] when the node is down.
    fn tip(&self) -> Result<(BlockHash, u32), RpcFailure> {
        let info = self.call("getblockchaininfo", json!([]))?;
        Ok((parse(info["bestblockhash"].clone())?, parse(info["blocks"].clone())?))
    }

    /// Returns when all that happened until now was handed to ZMQ. It may still be on its way to a subscriber.
    ///
    /// # Errors
    /// [`RpcFailure::UNREACHABLE`] when the node is down.
    fn settle(&self) -> Result<(), RpcFailure> {
        self.call("syncwithvalidationinterfacequeue", json!([])).map(drop)
    }
}

/// The kinds of node a test can be run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The stand-in inside this process.
    Sim,
    /// A `bitcoind -regtest` child: from `BITCOIND`, else from `PATH`.
    Bchn,
    /// A node named by the `JPPD_TEST_NODE_…` variables, see [`External`].
    #[value(skip)]
    External,
}

impl Kind {
    /// All kinds, the stand-in first.
    pub const ALL: [Self; 3] = [Self::Sim, Self::Bchn, Self::External];

    /// A fresh node of this kind; `None` when this machine has none. An external node is not fresh: it is shared.
    ///
    /// # Errors
    /// When there is one, but it does not come up.
    pub fn start(self) -> io::Result<Option<Arc<dyn Node>>> {
        Ok(match self {
            Self::Sim => Some(Arc::new(SimNode::start(SimOptions::default())?)),
            Self::Bchn => match Bchn::find() {
                Some(program) => Some(Arc::new(Bchn::start(&program)?)),
                None => None,
            },
            Self::External => External::from_env()?.map(|node| Arc::new(node) as Arc<dyn Node>),
        })
    }
}

/// One node of every kind this machine has, for a test to run its body against. Says on standard error when there is
/// no `bitcoind`; `test` names the test there. The external node is among them: its chain is not empty.
///
/// # Errors
/// When a node that should be there does not come up.
pub fn nodes(test: &str) -> io::Result<Vec<Arc<dyn Node>>> {
    start_all(test, &Kind::ALL)
}

/// As [`nodes`], without the external one: each starts with an empty chain and is the test's own.
///
/// # Errors
/// When a node that should be there does not come up.
pub fn fresh_nodes(test: &str) -> io::Result<Vec<Arc<dyn Node>>> {
    start_all(test, &[Kind::Sim, Kind::Bchn])
}

/// As [`fresh_nodes`], of nodes that publish nothing by ZMQ: those of an operator who forgot to.
///
/// # Errors
/// When a node that should be there does not come up.
pub fn silent_nodes(test: &str) -> io::Result<Vec<Arc<dyn Node>>> {
    let stand_in = SimNode::start(SimOptions::default())?;
    for topic in [Topic::RawTx, Topic::HashBlock, Topic::HashDs] {
        stand_in.remove_notifier(topic);
    }
    let mut found: Vec<Arc<dyn Node>> = vec![Arc::new(stand_in)];
    match Bchn::find() {
        Some(program) => found.push(Arc::new(Bchn::start_silent(&program)?)),
        None => without_bitcoind(test),
    }
    Ok(found)
}

fn start_all(test: &str, kinds: &[Kind]) -> io::Result<Vec<Arc<dyn Node>>> {
    let mut found = Vec::new();
    for kind in kinds {
        match kind.start()? {
            Some(node) => found.push(node),
            None if *kind == Kind::Bchn => without_bitcoind(test),
            None => {}
        }
    }
    Ok(found)
}

fn without_bitcoind(test: &str) {
    skipped(&format!("{test} on bchn: no bitcoind (set BITCOIND)"));
}

/// Says on standard error that something was not tried. The test runner keeps what a passing test prints with
/// `println!` to itself; this it does not see, so nobody takes for tried what was not. `scripts/run-stages` repeats
/// these lines at the end of `make test`.
pub fn skipped(what: &str) {
    // One write: tests that run side by side do not mix their lines. Where standard error is closed nobody reads.
    let _ = io::stderr().write_all(format!("skipped: {what}\n").as_bytes());
}

/// Reads a reply into the type the caller wants.
fn parse<T: DeserializeOwned>(value: Value) -> Result<T, RpcFailure> {
    serde_json::from_value(value)
        .map_err(|e| RpcFailure::new(RpcFailure::UNUSABLE, format!("unexpected reply: {e}")))
}
