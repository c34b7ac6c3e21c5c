//! What every dialect does with a submission once it has read it.

use bytes::Bytes;

use super::{reasons::Reason, state::Shared};
use crate::{
    bch::{MAX_TRANSACTION_BYTES, Transaction, TransactionError},
    ledger::View,
    submit::{Accepted, Submission, SubmitError},
};

/// The longest memo, in characters, of a merchant and of a payer.
pub(super) const MOST_MEMO: usize = 1024;

/// The transaction of its hexadecimal digits.
///
/// # Errors
///
/// The [`Reason`] for the payer.
pub(super) fn transaction_of_hex(digits: &str) -> Result<Transaction, Reason> {
    if digits.len() > 2 * MAX_TRANSACTION_BYTES {
        return Err(TransactionError::TooLarge.into());
    }
    let raw = hex::decode(digits).map_err(|_| Reason::not_hex())?;
    transaction_of_bytes(raw.into())
}

/// The transaction of its bytes.
///
/// # Errors
///
/// The [`Reason`] for the payer.
pub(super) fn transaction_of_bytes(raw: Bytes) -> Result<Transaction, Reason> {
    Ok(Transaction::decode_submitted(raw)?)
}

impl<S: View + Send + Sync + 'static> Shared<S> {
    /// Whether a submission would be taken. Nothing is kept and nothing is sent.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for the payer; so too if it could not even be read.
    pub(super) async fn verify(&self, submission: Result<Submission, Reason>) -> Result<(), Reason> {
        let verified = match submission {
            Ok(submission) => result(self.state.submitter.verify(submission).await),
            Err(reason) => Err(reason),
        };
        meter("verify", verified)
    }

    /// Takes a submission.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for the payer; so too if it could not even be read.
    pub(super) async fn pay(&self, submission: Result<Submission, Reason>) -> Result<(), Reason> {
        let paid = match submission {
            Ok(submission) => result(self.state.submitter.pay(submission).await),
            Err(reason) => Err(reason),
        };
        meter("pay", paid)
    }
}

fn result(accepted: Result<Accepted, SubmitError>) -> Result<(), Reason> {
    match accepted {
        Ok(Accepted::Valid | Accepted::Credited) => Ok(()),
        Err(error) => Err(Reason::from(&error)),
    }
}

fn meter(endpoint: &'static str, result: Result<(), Reason>) -> Result<(), Reason> {
    let code = result.as_ref().map_or_else(|reason| reason.code, |()| "accepted");
    metrics::counter!("jppd_submissions_total", "endpoint" => endpoint, "result" => code).increment(1);
    result
}
