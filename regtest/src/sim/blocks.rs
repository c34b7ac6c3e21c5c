//! Methods about blocks: reading, making, judging them.

use bitcoincash::consensus::encode::serialize_hex;
use bitcoincash::hashes::Hash;
use bitcoincash::{BlockHash, TxMerkleNode, Txid};
use serde::Serialize;
use serde_json::Value;

use super::json::{Literal, Reply, read_address, reply};
use super::methods::Context;
use super::params::{Params, integer};
use crate::chain::{Chain, Reject, StoredBlock};
use crate::node::RpcFailure;

/// The difficulty of every regtest block.
const DIFFICULTY: Literal = Literal("4.656542373906925e-10");
/// Seconds after which a tip is so old that the node thinks it is still catching up.
const OLD_TIP: u64 = 24 * 3_600;

#[derive(Serialize)]
struct BlockchainInfo {
    chain: &'static str,
    blocks: u32,
    headers: u32,
    bestblockhash: BlockHash,
    difficulty: Literal,
    mediantime: u32,
    verificationprogress: u32,
    initialblockdownload: bool,
    chainwork: String,
    size_on_disk: usize,
    pruned: bool,
    warnings: &'static str,
}

pub(super) fn get_blockchain_info(context: &mut Context<'_>, _: &Params) -> Reply {
    let chain = &*context.chain;
    let (bestblockhash, height) = chain.tip();
    let tip = known(chain, bestblockhash)?;
    // Each block is stored with eight bytes of its own in front.
    let stored =
        (0..=height).filter_map(|at| chain.block(chain.hash_at(at)?)).map(|block| block.raw.len() + 8);
    reply(&BlockchainInfo {
        chain: "regtest",
        blocks: height,
        headers: chain.best_header_height(),
        bestblockhash,
        difficulty: DIFFICULTY,
        mediantime: tip.median_time,
        verificationprogress: 1,
        initialblockdownload: context.node.is_catching_up(u64::from(tip.time()) + OLD_TIP < context.now),
        chainwork: work(tip),
        size_on_disk: stored.sum(),
        pruned: false,
        warnings: "",
    })
}

pub(super) fn get_best_block_hash(context: &mut Context<'_>, _: &Params) -> Reply {
    reply(&context.chain.tip().0)
}

pub(super) fn get_block_count(context: &mut Context<'_>, _: &Params) -> Reply {
    reply(&context.chain.tip().1)
}

pub(super) fn get_block_hash(context: &mut Context<'_>, params: &Params) -> Reply {
    let height = params.integer(0)?;
    let hash = u32::try_from(height).ok().and_then(|height| context.chain.hash_at(height));
    reply(&hash.ok_or_else(|| RpcFailure::new(-8, "Block height out of range"))?)
}

#[derive(Serialize)]
struct BlockJson<'a> {
    hash: BlockHash,
    confirmations: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
    height: u32,
    version: i32,
    #[serde(rename = "versionHex")]
    version_hex: String,
    merkleroot: TxMerkleNode,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx: Option<&'a [Txid]>,
    time: u32,
    mediantime: u32,
    nonce: u32,
    bits: String,
    difficulty: Literal,
    chainwork: String,
    #[serde(rename = "nTx")]
    transactions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    previousblockhash: Option<BlockHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nextblockhash: Option<BlockHash>,
    ablastate: AblaState,
}

#[derive(Serialize)]
struct AblaState {
    epsilon: u32,
    beta: u32,
    blocksize: usize,
    blocksizelimit: u32,
    nextblocksizelimit: u32,
}

impl<'a> BlockJson<'a> {
    /// The header's fields; with `body` those of the block, too.
    fn new(chain: &Chain, block: &'a StoredBlock, body: bool) -> Self {
        let header = block.header();
        let version = header.version.to_consensus();
        Self {
            hash: block.hash,
            confirmations: chain.confirmations(block.hash).unwrap_or(-1),
            size: body.then_some(block.raw.len()),
            height: block.height,
            version,
            version_hex: hex::encode(version.to_be_bytes()),
            merkleroot: header.merkle_root,
            tx: body.then_some(block.txids.as_slice()),
            time: header.time,
            mediantime: block.median_time,
            nonce: header.nonce,
            bits: hex::encode(header.bits.to_consensus().to_be_bytes()),
            difficulty: DIFFICULTY,
            chainwork: work(block),
            transactions: block.txids.len(),
            previousblockhash: Some(block.previous()).filter(|hash| *hash != BlockHash::all_zeros()),
            nextblockhash: chain.next_hash(block.hash),
            ablastate: AblaState {
                epsilon: 16_000_000,
                beta: 16_000_000,
                blocksize: block.raw.len(),
                blocksizelimit: 32_000_000,
                nextblocksizelimit: 32_000_000,
            },
        }
    }
}

pub(super) fn get_block(context: &mut Context<'_>, params: &Params) -> Reply {
    let hash = params.hash(0, "blockhash")?;
    let verbosity = params.verbosity(1, 1)?;
    let block = known(context.chain, hash)?;
    match verbosity {
        ..=0 => reply(&hex::encode(&block.raw)),
        1 => reply(&BlockJson::new(context.chain, block, true)),
        _ => Err(RpcFailure::new(-32603, "the stand-in serves getblock with verbosity 0 and 1 only")),
    }
}

pub(super) fn get_block_header(context: &mut Context<'_>, params: &Params) -> Reply {
    let chain = &*context.chain;
    let hash = match params.get(0) {
        Some(number @ Value::Number(_)) => {
            let height = integer(number)?;
            let Ok(wanted) = u32::try_from(height) else {
                return Err(RpcFailure::new(-8, format!("Target block height {height} is negative")));
            };
            let tip = chain.tip().1;
            chain.hash_at(wanted).ok_or_else(|| {
                RpcFailure::new(-8, format!("Target block height {height} after current tip {tip}"))
            })?
        }
        _ => params.hash(0, "hash_or_height")?,
    };
    // An unknown block is reported before a flag of the wrong type.
    let block = known(chain, hash)?;
    if params.flag_or(1, true)? {
        reply(&BlockJson::new(chain, block, false))
    } else {
        reply(&serialize_hex(block.header()))
    }
}

#[derive(Serialize)]
struct TipJson {
    height: u32,
    hash: BlockHash,
    branchlen: u32,
    status: &'static str,
}

pub(super) fn get_chain_tips(context: &mut Context<'_>, _: &Params) -> Reply {
    let tips: Vec<_> = context
        .chain
        .chain_tips()
        .into_iter()
        .map(|tip| TipJson {
            height: tip.height,
            hash: tip.hash,
            branchlen: tip.branch_length,
            status: tip.status.as_str(),
        })
        .collect();
    reply(&tips)
}

/// The stand-in finalises nothing, as a node in its first two hours.
pub(super) fn get_finalized_block_hash(_: &mut Context<'_>, _: &Params) -> Reply {
    reply(&"")
}

pub(super) fn invalidate_block(context: &mut Context<'_>, params: &Params) -> Reply {
    let hash = params.hash(0, "blockhash")?;
    context.chain.invalidate(hash, context.now).map_err(refusal)?;
    reply(&())
}

pub(super) fn reconsider_block(context: &mut Context<'_>, params: &Params) -> Reply {
    let hash = params.hash(0, "blockhash")?;
    context.chain.reconsider(hash, context.now).map_err(refusal)?;
    reply(&())
}

pub(super) fn submit_block(context: &mut Context<'_>, params: &Params) -> Reply {
    let raw = hex::decode(params.text(0)?).map_err(|_| RpcFailure::new(-22, "Block decode failed"))?;
    match context.chain.submit_block(&raw, context.now) {
        Ok(()) => reply(&()),
        Err(error) if error.starts_with("Block ") => Err(RpcFailure::new(-22, error)),
        Err(reason) => reply(&reason),
    }
}

pub(super) fn generate_to_address(context: &mut Context<'_>, params: &Params) -> Reply {
    let count = params.integer(0)?;
    if params.get(2).is_some() {
        params.integer(2)?;
    }
    let address =
        read_address(params.text(1)?).ok_or_else(|| RpcFailure::new(-5, "Error: Invalid address"))?;
    let count = u32::try_from(count).unwrap_or(0);
    reply(&context.chain.mine(count, &address.script_pubkey(), context.now))
}

/// A block by its hash.
pub(super) fn known(chain: &Chain, hash: BlockHash) -> Result<&StoredBlock, RpcFailure> {
    chain.block(hash).ok_or_else(|| RpcFailure::new(-5, "Block not found"))
}

/// The chain's refusal as an RPC error.
pub(super) fn refusal(reject: Reject) -> RpcFailure {
    RpcFailure::new(reject.code, reject.message)
}

fn work(block: &StoredBlock) -> String {
    format!("{:064x}", block.chainwork)
}
