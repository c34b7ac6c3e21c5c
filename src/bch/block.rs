//! Blocks: what a payment program needs of them.

use bitcoincash::{BlockHash, consensus};
use bytes::Bytes;

use super::Transaction;

/// A decoded block.
///
/// Its transactions after the coinbase are sorted by txid (CTOR, since November 2018): a child may stand before
/// its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The double SHA-256 of the header.
    pub hash: BlockHash,
    /// The block it builds on.
    pub previous: BlockHash,
    /// The miner's word for when it was found, seconds since 1970.
    pub time_s: u32,
    /// Its transactions, the coinbase first.
    pub transactions: Vec<Transaction>,
}

/// Why bytes are no block. The node, or what stands between, is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// Not the encoding of a block.
    #[error("not a Bitcoin Cash block")]
    Malformed,
    /// The transactions are not those that the header commits to.
    #[error("the block's transactions do not match its merkle root")]
    MerkleRoot,
}

impl Block {
    /// Decodes a block and checks its merkle root. A full one (32 MB) takes a tenth of a second: not for a thread
    /// that others wait for.
    ///
    /// # Errors
    ///
    /// [`BlockError`].
    pub fn decode(raw: &Bytes) -> Result<Self, BlockError> {
        let (header, header_bytes) = consensus::deserialize_partial::<bitcoincash::block::Header>(raw)
            .map_err(|_| BlockError::Malformed)?;
        let mut at = header_bytes;
        let rest = |at: usize| raw.get(at..).ok_or(BlockError::Malformed);
        let (count, used) = consensus::deserialize_partial::<bitcoincash::VarInt>(rest(at)?)
            .map_err(|_| BlockError::Malformed)?;
        at += used;
        let mut transactions = Vec::new();
        for _ in 0..count.0 {
            let (decoded, used) = consensus::deserialize_partial::<bitcoincash::Transaction>(rest(at)?)
                .map_err(|_| BlockError::Malformed)?;
            // A copy, so that one small transaction kept for long does not hold the bytes of the whole block.
            let bytes = Bytes::copy_from_slice(raw.get(at..at + used).ok_or(BlockError::Malformed)?);
            let txid = bitcoincash::hashes::Hash::hash(&bytes);
            transactions.push(Transaction::from_parts(
                &decoded,
                bitcoincash::Txid::from_raw_hash(txid),
                bytes,
            ));
            at += used;
        }
        if at != raw.len() {
            return Err(BlockError::Malformed);
        }
        let root = bitcoincash::merkle_tree::calculate_root(
            transactions.iter().map(|tx| bitcoincash::hashes::Hash::from_byte_array(*tx.txid().as_ref())),
        );
        if root != Some(header.merkle_root) {
            return Err(BlockError::MerkleRoot);
        }
        Ok(Self {
            hash: header.block_hash(),
            previous: header.prev_blockhash,
            time_s: header.time,
            transactions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn genesis() -> Bytes {
        consensus::serialize(&bitcoincash::constants::genesis_block(bitcoincash::Network::Regtest)).into()
    }

    #[test]
    fn the_genesis_block_of_regtest() {
        let block = Block::decode(&genesis()).unwrap();
        assert_eq!(
            block.hash.to_string(),
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
        );
        assert_eq!(block.transactions.len(), 1);
        assert!(block.transactions[0].is_coinbase());
        assert_eq!(
            block.transactions[0].txid().to_string(),
            "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
        );
    }

    #[test]
    fn damaged_blocks_are_answered() {
        let good = genesis();
        for length in 0..good.len() {
            assert_eq!(Block::decode(&good.slice(..length)), Err(BlockError::Malformed), "cut at {length}");
        }
        let trailing = [&good[..], &[0]].concat();
        assert_eq!(Block::decode(&trailing.into()), Err(BlockError::Malformed));
        let mut other = good.to_vec();
        let last = other.len() - 1;
        other[last] ^= 1;
        assert_eq!(Block::decode(&other.into()), Err(BlockError::MerkleRoot));
    }
}
