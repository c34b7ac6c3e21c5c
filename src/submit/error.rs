//! Why a submission came to nothing.

use crate::{
    bch::{Category, FeeRate, OutPoint, Txid},
    engine::EngineError,
    ledger::Refusal,
};

/// Why a submission came to nothing, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot pay this invoice: the payer's fault, or the payer was too slow.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// Its transactions do not go together: the wallet's fault.
    #[error(transparent)]
    Family(FamilyFault),
    /// What it spends cannot be spent: the wallet's fault, or somebody spent it first.
    #[error(transparent)]
    Inputs(InputFault),
    /// It pays out tokens that it does not take in: the wallet's fault.
    #[error(transparent)]
    Tokens(TokenFault),
    /// Its fee is too low for the invoice: the wallet's fault.
    #[error("a fee of {paid} satoshis is less than {required} ({rate} satoshis per byte, {bytes} bytes)")]
    Fee {
        /// The fee it pays, in satoshis.
        paid: u64,
        /// The least fee, in satoshis.
        required: u64,
        /// The rate asked.
        rate: FeeRate,
        /// The size it was measured by, in bytes.
        bytes: usize,
    },
    /// The node refused one of its transactions: the wallet's fault. The node's own words.
    #[error("the node refused the transaction: {0}")]
    RefusedByNode(String),
    /// The node is away, or did not answer. Asking again is right, and takes up what was left.
    #[error("the node is not available")]
    NodeAway,
    /// Too many submissions are under way. Ask again.
    #[error("too many submissions are under way")]
    Busy,
    /// The store is not available: the operator's fault. Nothing was broadcast, or it is on record.
    #[error("the store is not available")]
    Unavailable,
}

/// Why the transactions of a submission do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FamilyFault {
    /// There are none, or more than [`MOST_TRANSACTIONS`](super::MOST_TRANSACTIONS).
    #[error("a submission of {0} transactions")]
    Number(usize),
    /// Together they have more than [`MOST_BYTES`](super::MOST_BYTES).
    #[error("a submission of {0} bytes")]
    Size(usize),
    /// One of them is there twice.
    #[error("the transaction {0} was submitted twice at once")]
    Repeated(Txid),
    /// Two of them spend this outpoint.
    #[error("two of the transactions spend {0}")]
    Conflict(OutPoint),
    /// Some of them are their own ancestors.
    #[error("the transactions spend each other's outputs in a circle")]
    Circle,
}

/// What is wrong with the tokens of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It pays out tokens of a category that it neither takes in nor creates.
    #[error("the transaction takes in no tokens of category {category}")]
    NotHeld {
        /// The category.
        category: Category,
    },
    /// It pays out more fungible tokens than it takes in.
    #[error("the transaction takes in {inputs} tokens of category {category} and pays out {outputs}")]
    TooMuchOut {
        /// The category.
        category: Category,
        /// What it takes in.
        inputs: u128,
        /// What it pays out.
        outputs: u128,
    },
    /// It pays out an NFT that is neither taken in nor made from one that is.
    #[error("the transaction takes in nothing that allows an NFT of category {category} it pays out")]
    Nft {
        /// The category.
        category: Category,
    },
}

/// What is wrong with the inputs of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputFault {
    /// It spends this outpoint twice.
    #[error("the transaction spends {0} twice")]
    Twice(OutPoint),
    /// It is the first of a block, or looks like it.
    #[error("a coinbase cannot be submitted")]
    Coinbase,
    /// This outpoint is unknown, or spent.
    #[error("the transaction spends {0}, which is unknown or spent")]
    Missing(OutPoint),
    /// It pays out more than it takes in, in satoshis.
    #[error("the transaction takes in {inputs} satoshis and pays out {outputs}")]
    TooMuchOut {
        /// What it takes in.
        inputs: u64,
        /// What it pays out.
        outputs: u64,
    },
}

impl From<EngineError> for SubmitError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Busy => Self::Busy,
            EngineError::Unavailable | EngineError::Stopped => Self::Unavailable,
        }
    }
}
