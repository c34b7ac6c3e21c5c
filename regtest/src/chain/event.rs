//! What the node would publish over ZMQ.

use bitcoincash::{BlockHash, Txid};
use bytes::Bytes;

/// One notification. Each stands for two messages of the publisher: the hash and the raw form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction entered the mempool, or was in a block that was connected or disconnected.
    Transaction {
        /// Its id.
        txid: Txid,
        /// Its bytes.
        raw: Bytes,
    },
    /// The tip changed to this block.
    Block {
        /// Its hash.
        hash: BlockHash,
        /// Its bytes.
        raw: Bytes,
    },
    /// A double spend proof is known for this transaction of the mempool.
    DoubleSpend {
        /// The transaction that stays in the mempool.
        txid: Txid,
        /// The bytes of that transaction.
        raw: Bytes,
    },
}
