//! One transaction output, counted for one required output.

use super::{DoubleSpend, Elapsed, InvoiceId, Timestamp};
use crate::bch::{BlockHash, OutPoint, ProofScore, Token};

/// How a payment came to be known first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Submitted by the JSON Payment Protocol.
    Jpp,
    /// Submitted by BIP70.
    Bip70,
    /// Submitted by the REST API.
    Api,
    /// Met in the mempool, sent by whomever.
    Mempool,
    /// First met in a block.
    Block,
}

impl Via {
    /// Every way, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Jpp, Self::Bip70, Self::Api, Self::Mempool, Self::Block];

    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpp => "jpp",
            Self::Bip70 => "bip70",
            Self::Api => "api",
            Self::Mempool => "mempool",
            Self::Block => "block",
        }
    }
}

/// Where the transaction of a credit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditState {
    /// Heard of, and not known to be in the mempool or in a block; a coinbase until it is mature. Not counted.
    Seen,
    /// In the node's mempool, and waiting for what the invoice asks of payments that are not in a block
    /// ([`ZeroConf`](super::ZeroConf)). Not counted yet.
    Held,
    /// In the node's mempool.
    Mempool,
    /// In a block of the node's chain.
    Confirmed {
        /// The height of the block.
        height: u32,
        /// Its hash.
        hash: BlockHash,
    },
    /// Gone: double-spent, or dropped and refused. Not counted; it comes back if its transaction does.
    Lost,
}

impl CreditState {
    /// Whether it counts.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Mempool | Self::Confirmed { .. })
    }

    /// Whether its transaction is where it should be: it counts, or will if nothing comes in between.
    pub fn is_there(self) -> bool {
        self.is_live() || self == Self::Held
    }

    /// The word of the JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Held => "held",
            Self::Mempool => "mempool",
            Self::Confirmed { .. } => "confirmed",
            Self::Lost => "lost",
        }
    }

    /// Its confirmations under a chain of this height, 0 unless it is in a block.
    pub fn confirmations(self, tip_height: Option<u32>) -> u32 {
        match (self, tip_height) {
            (Self::Confirmed { height, .. }, Some(tip)) if height <= tip => (tip - height).saturating_add(1),
            (Self::Confirmed { .. } | Self::Seen | Self::Held | Self::Mempool | Self::Lost, _) => 0,
        }
    }
}

/// One transaction output, counted for one required output of one invoice. The pair never changes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    /// The output that pays.
    pub outpoint: OutPoint,
    /// The invoice it pays.
    pub invoice: InvoiceId,
    /// Which of its required outputs.
    pub output: u16,
    /// What the output carries, in satoshis.
    pub satoshis: u64,
    /// The tokens it carries.
    pub token: Option<Token>,
    /// Its place in the order of crediting, over all invoices.
    pub ordinal: u64,
    /// Where its transaction is.
    pub state: CreditState,
    /// How it came to be known first.
    pub via: Via,
    /// First seen after the invoice expired or was cancelled.
    pub late: bool,
    /// Another invoice asked for the same at the same time.
    pub ambiguous: bool,
    /// When its transaction was first seen, as it is shown.
    pub first_seen: Timestamp,
    /// Since when it is held back, or was when it last was, in elapsed time.
    pub held_since: Option<Elapsed>,
    /// When it first counted, as it is shown.
    pub live_since: Option<Timestamp>,
    /// What is known of the danger that its transaction is spent again before it is in a block.
    pub risk: Risk,
}

/// What is known of the danger that a transaction is spent again before it is in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// The node's word for how well proofs protect it; `None` as long as it was not asked, or could not say.
    pub score: Option<ProofScore>,
    /// What was met that speaks against it.
    pub double_spend: DoubleSpend,
}
