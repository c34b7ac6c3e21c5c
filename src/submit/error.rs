//! Why a submission came to nothing.

use crate::{
    bch::{FeeRate, OutPoint},
    engine::EngineError,
    ledger::Refusal,
};

/// Why a submission came to nothing, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// It cannot pay this invoice: the payer's fault, or the payer was too slow.
    #[error("refused: {0:?}")]
    Refused(Refusal),
    /// What it spends cannot be spent: the wallet's fault, or somebody spent it first.
    #[error(transparent)]
    Inputs(InputFault),
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
    /// The node refused it: the wallet's fault. The node's own words.
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
