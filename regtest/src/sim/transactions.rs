//! Methods about transactions: the mempool, sending, looking up, double spend proofs.

use std::collections::{BTreeMap, BTreeSet};

use bitcoincash::consensus::encode::deserialize;
use bitcoincash::hashes::sha256d;
use bitcoincash::script::{Builder, PushBytesBuf};
use bitcoincash::{BlockHash, OutPoint, ScriptBuf, Transaction, Txid};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::Caller;
use super::blocks::refusal;
use super::json::{Coins, Literal, Place, Reply, ScriptJson, ScriptSigJson, TokenJson, TransactionJson};
use super::json::{displayed, reply};
use super::methods::Context;
use super::params::{Json, Params, hash, integer};
use crate::chain::{Chain, DoubleSpendProof, MempoolEntry, Spender, StoredBlock};
use crate::node::RpcFailure;

/// Memory the node takes for a small transaction. Nobody computes with it.
const USAGE: usize = 944;
/// The one transaction that is in no mempool and in no set of coins.
const GENESIS_COINBASE: &str = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";

#[derive(Serialize)]
struct MempoolInfo {
    loaded: bool,
    size: usize,
    bytes: usize,
    usage: usize,
    maxmempool: u32,
    mempoolminfee: Coins,
    minrelaytxfee: Coins,
}

pub(super) fn get_mempool_info(context: &mut Context<'_>, _: &Params) -> Reply {
    let (size, bytes) = context.chain.mempool_size();
    reply(&MempoolInfo {
        loaded: context.caller == Caller::Harness || !context.node.faults.is_mempool_loading(),
        size,
        bytes,
        usage: size * USAGE,
        maxmempool: 320_000_000,
        mempoolminfee: Coins(context.chain.fee_floor()),
        minrelaytxfee: Coins(context.chain.relay_fee()),
    })
}

#[derive(Serialize)]
struct EntryJson {
    fees: Fees,
    size: usize,
    time: u64,
    depends: BTreeSet<Txid>,
    spentby: Vec<Txid>,
}

#[derive(Serialize)]
struct Fees {
    base: Coins,
    modified: Coins,
}

impl EntryJson {
    fn new(chain: &Chain, entry: &MempoolEntry) -> Self {
        Self {
            fees: Fees { base: Coins(entry.fee), modified: Coins(entry.fee) },
            size: entry.raw.len(),
            time: entry.time,
            depends: entry.depends.clone(),
            spentby: chain.children(entry.txid),
        }
    }
}

pub(super) fn get_raw_mempool(context: &mut Context<'_>, params: &Params) -> Reply {
    let verbose = params.flag_or(0, false)?;
    let empty = context.caller == Caller::Client && context.node.faults.take_empty_mempool();
    let chain = &*context.chain;
    let entries = chain.mempool_entries().filter(|_| !empty);
    if verbose {
        let entries: BTreeMap<_, _> =
            entries.map(|entry| (entry.txid, EntryJson::new(chain, entry))).collect();
        reply(&entries)
    } else {
        reply(&entries.map(|entry| entry.txid).collect::<Vec<_>>())
    }
}

pub(super) fn get_mempool_entry(context: &mut Context<'_>, params: &Params) -> Reply {
    let entry = context.chain.mempool_entry(params.hash(0, "parameter 1")?).ok_or_else(not_in_mempool)?;
    reply(&EntryJson::new(context.chain, entry))
}

pub(super) fn get_raw_transaction(context: &mut Context<'_>, params: &Params) -> Reply {
    let chain = &*context.chain;
    let txid: Txid = params.hash(0, "parameter 1")?;
    if txid.to_string() == GENESIS_COINBASE {
        let text =
            "The genesis block coinbase is not considered an ordinary transaction and cannot be retrieved";
        return Err(RpcFailure::new(-5, text));
    }
    let verbosity = match params.get(1) {
        None => 0,
        Some(number @ Value::Number(_)) => integer(number)?,
        Some(_) => i32::from(params.flag(1)?),
    };
    if !(0..=2).contains(&verbosity) {
        return Err(RpcFailure::new(-5, format!("Wrong verbosity level {verbosity}")));
    }
    if verbosity == 2 {
        return Err(RpcFailure::new(
            -32603,
            "the stand-in serves getrawtransaction with verbosity 0 and 1 only",
        ));
    }
    let named = if params.get(2).is_some() { Some(params.hash(2, "parameter 3")?) } else { None };
    let (tx, raw, block) = find_transaction(chain, txid, named)?;
    if verbosity == 0 {
        return reply(&hex::encode(raw));
    }
    let place = block.map(|block| {
        let stored = chain.block(block);
        let active = chain.is_active(block);
        let time = stored.filter(|_| active).map(StoredBlock::time);
        Place {
            blockhash: block,
            confirmations: chain.confirmations(block).unwrap_or(0).max(0),
            time,
            blocktime: time,
            in_active_chain: named.map(|_| active),
        }
    });
    reply(&TransactionJson::new(tx, &raw, place))
}

/// A transaction as the node finds it without an index: in the named block, else in the mempool, else in the chain as
/// long as one of its outputs is unspent.
fn find_transaction(
    chain: &Chain,
    txid: Txid,
    named: Option<BlockHash>,
) -> Result<(&Transaction, Bytes, Option<BlockHash>), RpcFailure> {
    let failure =
        |text: &str| RpcFailure::new(-5, format!("{text} Use gettransaction for wallet transactions."));
    let absent =
        || failure("No such mempool transaction. Use -txindex to enable blockchain transaction queries.");
    let (hash, index) = if let Some(hash) = named {
        let block = chain.block(hash).ok_or_else(|| RpcFailure::new(-5, "Block hash not found"))?;
        let index = block.txids.iter().position(|known| *known == txid);
        (hash, index.ok_or_else(|| failure("No such transaction found in the provided block."))?)
    } else {
        if let Some(entry) = chain.mempool_entry(txid) {
            return Ok((&entry.tx, entry.raw.clone(), None));
        }
        chain.confirmed(txid).filter(|found| has_coin(chain, txid, *found)).ok_or_else(absent)?
    };
    let block = chain.block(hash).ok_or_else(absent)?;
    let tx = block.block.txdata.get(index).ok_or_else(absent)?;
    let raw = block.transaction_raw(index).ok_or_else(absent)?;
    Ok((tx, raw, Some(hash)))
}

/// Whether an output of a confirmed transaction is unspent in the chain.
fn has_coin(chain: &Chain, txid: Txid, (hash, index): (BlockHash, usize)) -> bool {
    let outputs =
        chain.block(hash).and_then(|block| block.block.txdata.get(index)).map_or(0, |tx| tx.output.len());
    (0..).take(outputs).any(|vout| chain.unspent(&OutPoint { txid, vout }, false).is_some())
}

#[derive(Serialize)]
struct TxOutJson {
    bestblock: BlockHash,
    confirmations: u32,
    value: Coins,
    #[serde(rename = "scriptPubKey")]
    script: ScriptJson,
    #[serde(rename = "tokenData", skip_serializing_if = "Option::is_none")]
    token: Option<TokenJson>,
    coinbase: bool,
}

pub(super) fn get_tx_out(context: &mut Context<'_>, params: &Params) -> Reply {
    let txid = params.hash(0, "txid")?;
    let vout = params.integer(1)?;
    let include_mempool = params.flag_or(2, true)?;
    let (bestblock, height) = context.chain.tip();
    let coin = u32::try_from(vout)
        .ok()
        .and_then(|vout| context.chain.unspent(&OutPoint { txid, vout }, include_mempool));
    reply(&coin.map(|coin| TxOutJson {
        bestblock,
        confirmations: coin.height.map_or(0, |mined| height + 1 - mined),
        value: coin.output.value.into(),
        script: ScriptJson::new(&coin.output.script_pubkey),
        token: coin.output.token.as_ref().map(TokenJson::new),
        coinbase: coin.coinbase,
    }))
}

#[derive(Serialize)]
struct ScanJson {
    success: bool,
    searched_items: usize,
    unspents: Vec<UnspentJson>,
    total_amount: Coins,
}

#[derive(Serialize)]
struct UnspentJson {
    txid: Txid,
    vout: u32,
    #[serde(rename = "scriptPubKey")]
    script: String,
    amount: Coins,
    height: u32,
    #[serde(rename = "tokenData", skip_serializing_if = "Option::is_none")]
    token: Option<TokenJson>,
}

/// Searches at once, and by `raw(…)` alone; a search is never found under way.
pub(super) fn scan_tx_out_set(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::String], &[Json::Array]])?;
    match params.text(0)? {
        "start" => {}
        "status" => return reply(&()),
        "abort" => return reply(&false),
        _ => return Err(RpcFailure::new(-8, "Invalid command")),
    }
    let objects = params.get(1).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut scripts = Vec::with_capacity(objects.len());
    for object in objects {
        let descriptor = object.as_str().or_else(|| object.get("desc").and_then(Value::as_str));
        let descriptor = descriptor
            .ok_or_else(|| RpcFailure::new(-8, "Scan object needs to be either a string or an object"))?;
        let raw = descriptor.strip_prefix("raw(").and_then(|rest| rest.strip_suffix(')'));
        let script = raw.and_then(|digits| ScriptBuf::from_hex(digits).ok());
        scripts
            .push(script.ok_or_else(|| RpcFailure::new(-5, format!("Invalid descriptor '{descriptor}'")))?);
    }
    let found = context.chain.unspent_of(&scripts);
    let (searched_items, _) = context.chain.coin_totals();
    let total = found.iter().map(|(_, coin)| coin.output.value.to_sat()).sum();
    let unspents = found.into_iter().map(|(outpoint, coin)| UnspentJson {
        txid: outpoint.txid,
        vout: outpoint.vout,
        script: coin.output.script_pubkey.to_hex_string(),
        amount: coin.output.value.into(),
        height: coin.height.unwrap_or_default(),
        token: coin.output.token.as_ref().map(TokenJson::new),
    });
    reply(&ScanJson {
        success: true,
        searched_items,
        unspents: unspents.collect(),
        total_amount: Coins(total),
    })
}

pub(super) fn send_raw_transaction(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::String], &[Json::Bool]])?;
    let raw = hex::decode(params.text(0)?).map_err(|_| undecodable())?;
    let high_fees = params.flag_or(1, false)?;
    reply(&context.chain.submit(&raw, high_fees, context.now).map_err(refusal)?)
}

#[derive(Serialize)]
struct Verdict {
    txid: Txid,
    allowed: bool,
    #[serde(rename = "reject-reason", skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) fn test_mempool_accept(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::Array], &[Json::Bool]])?;
    let list = params.get(0).and_then(Value::as_array).map(Vec::as_slice);
    let Some([one]) = list else {
        return Err(RpcFailure::new(-8, "Array must contain exactly one raw transaction for now"));
    };
    let text = one.as_str().ok_or_else(|| RpcFailure::new(-1, "JSON value is not a string as expected"))?;
    let raw = hex::decode(text).map_err(|_| undecodable())?;
    let tx: Transaction = deserialize(&raw).map_err(|_| undecodable())?;
    let reject = match context.chain.test_accept(&raw, params.flag_or(1, false)?, context.now) {
        Ok(_) => None,
        Err(reject) if reject.code == -22 => return Err(refusal(reject)),
        Err(reject) => Some(reject.reason_for_test().to_owned()),
    };
    reply(&[Verdict { txid: tx.compute_txid(), allowed: reject.is_none(), reason: reject }])
}

#[derive(Serialize)]
struct ProofJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dspid: Option<sha256d::Hash>,
    /// Null for a proof whose transaction left the mempool.
    txid: Option<Txid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outpoint: Option<OutPointJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<Txid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    descendants: Option<BTreeSet<Txid>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spenders: Option<Vec<SpenderJson>>,
}

#[derive(Serialize)]
struct OutPointJson {
    txid: Txid,
    vout: u32,
}

#[derive(Serialize)]
struct SpenderJson {
    txversion: i32,
    sequence: u32,
    locktime: u32,
    hashprevoutputs: String,
    hashsequence: String,
    hashoutputs: String,
    pushdata: ScriptSigJson,
}

impl ProofJson {
    fn new(proof: &DoubleSpendProof, txid: Option<Txid>, verbosity: i32) -> Self {
        let bytes = verbosity < 2;
        Self {
            hex: bytes.then(|| hex::encode(&proof.raw)),
            dspid: (!bytes).then_some(proof.id),
            txid,
            outpoint: (!bytes)
                .then_some(OutPointJson { txid: proof.outpoint.txid, vout: proof.outpoint.vout }),
            path: None,
            descendants: None,
            spenders: (verbosity > 2).then(|| proof.spenders.iter().map(SpenderJson::new).collect()),
        }
    }
}

impl SpenderJson {
    fn new(spender: &Spender) -> Self {
        // A signature is always short enough to be pushed.
        let push = PushBytesBuf::try_from(spender.signature.clone()).unwrap_or_default();
        Self {
            txversion: spender.version,
            sequence: spender.sequence,
            locktime: spender.lock_time,
            hashprevoutputs: displayed(&spender.hash_prevouts),
            hashsequence: displayed(&spender.hash_sequence),
            hashoutputs: displayed(&spender.hash_outputs),
            pushdata: ScriptSigJson::new(&Builder::new().push_slice(push).into_script()),
        }
    }
}

pub(super) fn get_ds_proof(context: &mut Context<'_>, params: &Params) -> Reply {
    const FLAG: &[Json] = &[Json::Null, Json::Bool];
    params.expect(&[&[Json::Object, Json::String], &[Json::Null, Json::Bool, Json::Number], FLAG])?;
    let verbosity = proof_verbosity(params, 1, 2)?;
    let recursive = if params.len() > 2 { params.flag(2)? } else { true };
    let chain = &*context.chain;
    let list = chain.dsproof_list();
    // By transaction the way to the culprit is told, by proof or outpoint there is none.
    let (found, path) = match params.get(0) {
        Some(Value::Object(outpoint)) => {
            let missing = |name: &str| RpcFailure::new(-3, format!("Missing {name}"));
            let txid = outpoint.get("txid").and_then(Value::as_str).ok_or_else(|| missing("txid"))?;
            let vout = outpoint.get("vout").ok_or_else(|| missing("vout"))?;
            let outpoint = OutPoint {
                txid: hash(txid, "txid")?,
                vout: u32::try_from(integer(vout)?)
                    .map_err(|_| RpcFailure::new(-8, "vout cannot be negative"))?,
            };
            (list.iter().find(|(_, proof)| proof.outpoint == outpoint).copied(), None)
        }
        _ => {
            let txid: Txid = params.hash(0, "dspid|txid")?;
            let by_id = list.iter().find(|(_, proof)| proof.id.to_string() == txid.to_string()).copied();
            match chain.dsproof(txid).filter(|_| recursive && by_id.is_none()) {
                Some((proof, path)) => (path.last().map(|culprit| (*culprit, proof)), Some(path.clone())),
                None => (by_id.or_else(|| list.iter().find(|(own, _)| *own == txid).copied()), None),
            }
        }
    };
    let Some((culprit, proof)) = found else { return reply(&()) };
    let mut json = ProofJson::new(proof, Some(culprit), verbosity);
    json.path = path;
    json.descendants =
        (verbosity > 0).then(|| chain.descendants(culprit).into_iter().chain([culprit]).collect());
    reply(&json)
}

pub(super) fn get_ds_proof_list(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::Null, Json::Bool, Json::Number], &[Json::Null, Json::Bool]])?;
    let verbosity = proof_verbosity(params, 0, 0)?;
    let orphans = if params.flag_or(1, false)? { context.chain.dsproof_orphans() } else { Vec::new() };
    let known = context.chain.dsproof_list().into_iter().map(|(txid, proof)| (Some(txid), proof));
    let all = known.chain(orphans.into_iter().map(|proof| (None, proof)));
    if verbosity == 0 {
        reply(&all.map(|(_, proof)| proof.id).collect::<Vec<_>>())
    } else {
        reply(&all.map(|(txid, proof)| ProofJson::new(proof, txid, verbosity)).collect::<Vec<_>>())
    }
}

pub(super) fn get_ds_proof_score(context: &mut Context<'_>, params: &Params) -> Reply {
    params.expect(&[&[Json::String]])?;
    let score = context.chain.dsproof_score(params.hash(0, "txid")?).ok_or_else(not_in_mempool)?;
    reply(&Literal(score.as_str()))
}

fn proof_verbosity(params: &Params, index: usize, absent: i32) -> Result<i32, RpcFailure> {
    let verbosity = params.verbosity(index, absent)?;
    if (0..=3).contains(&verbosity) { Ok(verbosity) } else { Err(RpcFailure::new(-8, "Bad verbosity")) }
}

fn undecodable() -> RpcFailure {
    RpcFailure::new(-22, "TX decode failed")
}

fn not_in_mempool() -> RpcFailure {
    RpcFailure::new(-5, "Transaction not in mempool")
}
