//! What a wallet hands over.

use std::sync::Arc;

use crate::{
    bch::Transaction,
    invoice::{InvoiceId, PayerNote, Via},
};

/// The most transactions of one submission. A wallet has one; those that split a payment, or bring the parents of what
/// they pay, have a few.
pub const MOST_TRANSACTIONS: usize = 16;

/// Transactions that a wallet hands over for one invoice. They are checked as one and claimed as one.
#[derive(Clone, Debug)]
pub struct Submission {
    /// For which invoice.
    pub invoice: InvoiceId,
    /// One to [`MOST_TRANSACTIONS`], in any order; for a verification they may be unsigned.
    pub transactions: Vec<Arc<Transaction>>,
    /// What the payer said.
    pub note: PayerNote,
    /// How it came.
    pub via: Via,
    /// How large the wallet says its transaction will be once it is signed, in bytes. It is heard if there is one
    /// transaction, and believed where it can be true.
    pub weighted_size: Option<usize>,
}

/// A submission that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It would be taken if it were signed and submitted.
    Valid,
    /// It is credited.
    Credited,
}
