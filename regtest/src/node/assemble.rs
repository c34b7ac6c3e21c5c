//! A block made by hand, for transactions that no mempool has seen.
//!
//! Everything the regtest consensus asks for and nothing more: coinbase with the height, the subsidy without the
//! fees (claiming less is allowed), the transactions sorted by their id, a nonce that meets the minimal difficulty.

use std::sync::atomic::{AtomicU32, Ordering};

use bitcoincash::address::CashAddress;
use bitcoincash::block::{Header, Version};
use bitcoincash::hashes::Hash;
use bitcoincash::script::Builder;
use bitcoincash::{
    Amount, Block, BlockHash, CompactTarget, Network, OutPoint, Script, ScriptBuf, Sequence, Target,
    Transaction, TxIn, TxMerkleNode, TxOut, Witness, absolute, transaction,
};

use super::RpcFailure;
use crate::chain::subsidy;
use crate::sim::wall_time;

/// The difficulty of every regtest block.
const BITS: u32 = 0x207f_ffff;

/// Makes two blocks of one height different, and so distinguishable after an `invalidateblock`.
static SERIAL: AtomicU32 = AtomicU32::new(1);

/// The regtest cash address of `script`.
pub(super) fn address(script: &Script) -> Result<String, RpcFailure> {
    CashAddress::from_script(script, Network::Regtest)
        .map(|address| address.to_string())
        .map_err(|e| RpcFailure::new(RpcFailure::UNUSABLE, format!("payout without an address: {e}")))
}

/// A block at `height` on `parent` with a coinbase to `payout` and `transactions` in canonical order.
pub(super) fn block(
    parent: BlockHash,
    height: u32,
    parent_median: u32,
    transactions: &[Transaction],
    payout: &Script,
) -> Block {
    let mut rest = transactions.to_vec();
    rest.sort_by_key(|tx| {
        let mut id = tx.compute_txid().to_byte_array();
        id.reverse();
        id
    });
    let mut txdata = vec![coinbase(height, payout)];
    txdata.append(&mut rest);
    let header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent,
        merkle_root: TxMerkleNode::all_zeros(),
        time: u32::try_from(wall_time()).unwrap_or(u32::MAX).max(parent_median.saturating_add(1)),
        bits: CompactTarget::from_consensus(BITS),
        nonce: 0,
    };
    let mut block = Block { header, txdata };
    if let Some(root) = block.compute_merkle_root() {
        block.header.merkle_root = root;
    }
    let target = Target::from_compact(block.header.bits);
    while !target.is_met_by(block.block_hash()) {
        block.header.nonce = block.header.nonce.wrapping_add(1);
    }
    block
}

fn coinbase(height: u32, payout: &Script) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: Builder::new()
                .push_int(i64::from(height))
                .push_slice(SERIAL.fetch_add(1, Ordering::Relaxed).to_le_bytes())
                .into_script(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::from_sat(subsidy(height)),
            script_pubkey: ScriptBuf::from_bytes(payout.to_bytes()),
            token: None,
        }],
    }
}
