//! What a wallet hands over.

use std::sync::Arc;

use crate::{
    bch::{MAX_TRANSACTION_BYTES, Transaction},
    invoice::{InvoiceId, PayerNote, Via},
};

/// The most transactions of one submission. A wallet has one; those that split a payment, or bring the parents of what
/// they pay, have a few.
pub const MOST_TRANSACTIONS: usize = 16;

/// The most bytes of all transactions of a submission together: as many as one transaction may have. It bounds how many
/// coins the node is asked for. No wallet's payment comes near it; BitPay's libraries refuse one of 50,000 bytes.
pub const MOST_BYTES: usize = MAX_TRANSACTION_BYTES;

/// Transactions that a wallet hands over for one invoice. They are checked as one and claimed as one.
#[derive(Clone, Debug)]
pub struct Submission {
    /// For which invoice.
    pub invoice: InvoiceId,
    /// One to [`MOST_TRANSACTIONS`], of [`MOST_BYTES`] together, in any order; for a verification they may be unsigned.
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
