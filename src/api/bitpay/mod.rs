//! BitPay's JSON Payment Protocol, versions 1 and 2, as the wallets speak it.
//!
//! Sources: BitPay's specifications of JPP v1 and v2, and where a wallet wants something else, the wallet. What all of
//! them together need:
//!
//! - every answer is 200, `application/json`, in ASCII alone (Electron Cash encodes the text anew before it hashes
//!   it), and signed if there is a key; `digest` and `signature` are over the very bytes that are sent;
//! - all eight keys of a payment option (Edge refuses a document without one), `memo` never `null` (Selene asks for its
//!   length), times with three decimals and a `Z` (strict parsers), amounts as integers, addresses with their prefix;
//! - `requiredFeeRate` and `requiredFeePerByte` both, for wallets read the one or the other;
//! - what was submitted comes back to the letter; the memo of a verification has the word `valid` in it;
//! - the same answer however often one asks: some wallets ask three times and compare.
//!
//! An unsigned transaction is whatever a wallet sends for verification: some leave the unlocking scripts empty, some
//! send placeholders, some the signed transaction itself. It is never broadcast.

mod answer;
pub(super) mod body;
mod document;

use axum::{body::Bytes, http::StatusCode, response::Response};

pub(super) use self::document::memo;
use self::{
    body::{Payment, Proposal, Selection, Submitted},
    document::{Options, Paid, PaidV1, Request, RequestV1, Verified, VerifiedV1},
};
use super::{
    caller::Caller,
    reasons::Reason,
    state::{ApiState, Shared},
    submissions::transaction_of_hex,
    wallet::WalletFault,
};
use crate::{
    invoice::{InvoiceId, PayerNote, Statement, Via},
    ledger::View,
    submit::Submission,
};

/// v2: the ways to pay, asked for with `GET`.
pub(super) const OPTIONS: &str = "application/payment-options";
/// v1: what to pay, asked for with `GET`. v2: the same, asked for with `POST`.
pub(super) const REQUEST: &str = "application/payment-request";
/// v2: would this be taken?
pub(super) const VERIFICATION: &str = "application/payment-verification";
/// v1: would this be taken?
pub(super) const VERIFICATION_V1: &str = "application/verify-payment";
/// The payment, in both.
pub(super) const PAYMENT: &str = "application/payment";

/// v2: the ways to pay, of which there is one.
pub(super) fn options<S>(state: &ApiState<S>, statement: &Statement) -> Response {
    answer::signed(state, &Options::new(&statement.invoice, &state.settings))
}

/// v1: what to pay.
pub(super) fn request_v1<S>(state: &ApiState<S>, statement: &Statement) -> Response {
    answer::signed(state, &RequestV1::new(&statement.invoice, &state.settings))
}

/// v2: what to pay, once a wallet has selected how.
///
/// # Errors
///
/// [`WalletFault`] if it selected what there is not.
pub(super) fn request<S>(
    state: &ApiState<S>,
    statement: &Statement,
    body: &[u8],
) -> Result<Response, WalletFault> {
    Selection::read(body)?;
    Ok(answer::signed(state, &Request::new(&statement.invoice, &state.settings)))
}

/// v2: whether a transaction would be taken.
///
/// # Errors
///
/// [`WalletFault`]: what is wrong with it.
pub(super) async fn verify<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    statement: &Statement,
    caller: Caller,
    body: Bytes,
) -> Result<Response, WalletFault> {
    let Payment { transaction, .. } = shared.parsed(&body, Payment::read).await??;
    drop(body);
    would_be_taken(shared, statement.invoice.id, caller, &transaction).await?;
    Ok(answer::signed(&shared.state, &Verified::new(&transaction)))
}

/// v1: whether a transaction would be taken.
///
/// # Errors
///
/// [`WalletFault`]: what is wrong with it.
pub(super) async fn verify_v1<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    statement: &Statement,
    caller: Caller,
    body: Bytes,
) -> Result<Response, WalletFault> {
    let transaction = shared.parsed(&body, Proposal::read).await??;
    drop(body);
    would_be_taken(shared, statement.invoice.id, caller, &transaction).await?;
    Ok(answer::signed(&shared.state, &VerifiedV1::new(&transaction)))
}

/// Takes a payment, of either version.
///
/// # Errors
///
/// [`WalletFault`]: why it is not taken.
pub(super) async fn pay<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    statement: &Statement,
    caller: Caller,
    body: Bytes,
) -> Result<Response, WalletFault> {
    let Payment { transaction, is_v1 } = shared.parsed(&body, Payment::read).await??;
    drop(body);
    shared.pay(caller, submission(statement.invoice.id, &transaction)).await.map_err(fault)?;
    Ok(if is_v1 {
        answer::signed(&shared.state, &PaidV1::new(&transaction))
    } else {
        answer::signed(&shared.state, &Paid::new(&transaction))
    })
}

async fn would_be_taken<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    invoice: InvoiceId,
    caller: Caller,
    transaction: &Submitted,
) -> Result<(), WalletFault> {
    shared.verify(caller, submission(invoice, transaction)).await.map_err(fault)
}

fn submission(invoice: InvoiceId, submitted: &Submitted) -> Result<Submission, Reason> {
    let transactions = vec![transaction_of_hex(&submitted.hex)?.shared()];
    let weighted_size = submitted.weighted_size.and_then(|size| usize::try_from(size).ok());
    Ok(Submission { invoice, transactions, note: PayerNote::default(), via: Via::Jpp, weighted_size })
}

/// JPP has a status code of its own for inputs that cannot be spent.
fn fault(reason: Reason) -> WalletFault {
    WalletFault::of_submission(reason, StatusCode::UNPROCESSABLE_ENTITY)
}
