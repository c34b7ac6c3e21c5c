//! The table of methods: names, parameters, and who does the work.

use std::sync::Arc;

use super::json::Reply;
use super::params::Params;
use super::{Caller, Shared, blocks, control, transactions};
use crate::chain::Chain;
use crate::node::RpcFailure;

/// What a method works with.
pub(super) struct Context<'a> {
    pub(super) node: &'a Arc<Shared>,
    /// Held for the whole call.
    pub(super) chain: &'a mut Chain,
    /// The node's time, unix seconds.
    pub(super) now: u64,
    pub(super) caller: Caller,
}

/// One method of the RPC.
pub(super) struct Method {
    name: &'static str,
    /// The parameters in the notation of the node's help.
    synopsis: &'static str,
    /// The parameters' names, by which they can be given, too.
    pub(super) names: &'static [&'static str],
    /// How many of them must be given.
    pub(super) required: usize,
    /// Whether a successful answer waits until what it caused was handed to ZMQ.
    pub(super) waits: bool,
    pub(super) run: fn(&mut Context<'_>, &Params) -> Reply,
}

impl Method {
    /// The error text for a wrong number of parameters. The node prints its whole help; this is its first line.
    pub(super) fn usage(&self) -> String {
        format!("{}{}\n", self.name, self.synopsis)
    }
}

/// The method called `name`.
pub(super) fn find(name: &str) -> Result<&'static Method, RpcFailure> {
    let found = METHODS.iter().find(|method| method.name == name);
    found.ok_or_else(|| RpcFailure::new(-32601, "Method not found"))
}

const fn method(
    name: &'static str,
    synopsis: &'static str,
    names: &'static [&'static str],
    required: usize,
    run: fn(&mut Context<'_>, &Params) -> Reply,
) -> Method {
    Method { name, synopsis, names, required, waits: false, run }
}

/// The same, answered only when ZMQ has what it caused.
const fn waiting(method: Method) -> Method {
    Method { waits: true, ..method }
}

/// Every method the stand-in knows.
static METHODS: &[Method] = &[
    method("getbestblockhash", "", &[], 0, blocks::get_best_block_hash),
    method("getblock", " \"blockhash\" ( verbosity )", &["blockhash", "verbosity"], 1, blocks::get_block),
    method("getblockchaininfo", "", &[], 0, blocks::get_blockchain_info),
    method("getblockcount", "", &[], 0, blocks::get_block_count),
    method("getblockhash", " height", &["height"], 1, blocks::get_block_hash),
    method(
        "getblockheader",
        " \"hash_or_height\" ( verbose )",
        &["hash_or_height", "verbose"],
        1,
        blocks::get_block_header,
    ),
    method("getchaintips", "", &[], 0, blocks::get_chain_tips),
    method("getfinalizedblockhash", "", &[], 0, blocks::get_finalized_block_hash),
    method("invalidateblock", " \"blockhash\"", &["blockhash"], 1, blocks::invalidate_block),
    method("reconsiderblock", " \"blockhash\"", &["blockhash"], 1, blocks::reconsider_block),
    method("submitblock", " \"hexdata\" ( \"dummy\" )", &["hexdata", "dummy"], 1, blocks::submit_block),
    method(
        "generatetoaddress",
        " nblocks \"address\" ( maxtries )",
        &["nblocks", "address", "maxtries"],
        2,
        blocks::generate_to_address,
    ),
    method(
        "getdsproof",
        " \"dspid_or_txid_or_outpoint\" ( verbosity recursive )",
        &["dspid_or_txid_or_outpoint", "verbosity", "recursive"],
        1,
        transactions::get_ds_proof,
    ),
    method(
        "getdsprooflist",
        " ( verbosity include_orphans )",
        &["verbosity", "include_orphans"],
        0,
        transactions::get_ds_proof_list,
    ),
    method("getdsproofscore", " \"txid\"", &["txid"], 1, transactions::get_ds_proof_score),
    method("getmempoolentry", " \"txid\"", &["txid"], 1, transactions::get_mempool_entry),
    method("getmempoolinfo", "", &[], 0, transactions::get_mempool_info),
    method("getrawmempool", " ( verbose )", &["verbose"], 0, transactions::get_raw_mempool),
    method(
        "getrawtransaction",
        " \"txid\" ( verbose \"blockhash\" )",
        &["txid", "verbose", "blockhash"],
        1,
        transactions::get_raw_transaction,
    ),
    method(
        "gettxout",
        " \"txid\" n ( include_mempool )",
        &["txid", "n", "include_mempool"],
        2,
        transactions::get_tx_out,
    ),
    method(
        "scantxoutset",
        " action ( scanobjects )",
        &["action", "scanobjects"],
        1,
        transactions::scan_tx_out_set,
    ),
    waiting(method(
        "sendrawtransaction",
        " \"hexstring\" ( allowhighfees )",
        &["hexstring", "allowhighfees"],
        1,
        transactions::send_raw_transaction,
    )),
    method(
        "testmempoolaccept",
        " [\"rawtx\",...] ( allowhighfees )",
        &["rawtxs", "allowhighfees"],
        1,
        transactions::test_mempool_accept,
    ),
    method("getnetworkinfo", "", &[], 0, control::get_network_info),
    method("getzmqnotifications", "", &[], 0, control::get_zmq_notifications),
    method("setmocktime", " timestamp", &["timestamp"], 1, control::set_mock_time),
    method("stop", "", &["wait"], 0, control::stop),
    waiting(method("syncwithvalidationinterfacequeue", "", &[], 0, control::sync_queue)),
    method("uptime", "", &[], 0, control::uptime),
    method("validateaddress", " \"address\"", &["address"], 1, control::validate_address),
];
