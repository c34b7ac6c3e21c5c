//! What every dialect does with a submission once it has read it.

use std::time::Instant;

use bytes::Bytes;

use super::{caller::Caller, limits::Rate, reasons::Reason, state::Shared};
use crate::{
    bch::{MAX_TRANSACTION_BYTES, Transaction, TransactionError},
    ledger::View,
    submit::{Accepted, Submission, SubmitError},
};

/// The longest memo, in characters, of a merchant and of a payer.
pub(super) const MOST_MEMO: usize = 1024;

/// The inputs that cost the node as much as one request does. A submission of more counts as several.
const INPUTS_OF_ONE: usize = 50;

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
    pub(super) async fn verify(
        &self,
        caller: Caller,
        submission: Result<Submission, Reason>,
    ) -> Result<(), Reason> {
        let verified = match submission.and_then(|submission| weighed(&self.verify_rate, caller, submission))
        {
            Ok(submission) => result(self.state.submitter.verify(caller.asker(), submission).await),
            Err(reason) => Err(reason),
        };
        meter("verify", verified)
    }

    /// Takes a submission.
    ///
    /// # Errors
    ///
    /// The [`Reason`] for the payer; so too if it could not even be read.
    pub(super) async fn pay(
        &self,
        caller: Caller,
        submission: Result<Submission, Reason>,
    ) -> Result<(), Reason> {
        let paid = match submission.and_then(|submission| weighed(&self.pay_rate, caller, submission)) {
            Ok(submission) => result(self.state.submitter.pay(caller.asker(), submission).await),
            Err(reason) => Err(reason),
        };
        meter("pay", paid)
    }
}

/// Takes from a rate what a submission costs beyond the request itself, which was taken when it came.
fn weighed(rate: &Rate, caller: Caller, submission: Submission) -> Result<Submission, Reason> {
    let inputs: usize = submission.transactions.iter().map(|transaction| transaction.inputs().len()).sum();
    let beyond = inputs.saturating_sub(1).div_euclid(INPUTS_OF_ONE);
    if beyond > 0 {
        let weight = u32::try_from(beyond).unwrap_or(u32::MAX);
        rate.take(caller.client(), weight, Instant::now()).map_err(Reason::throttled)?;
    }
    Ok(submission)
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
