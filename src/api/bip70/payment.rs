//! Payments and verifications.

use axum::{http::StatusCode, response::Response};
use bytes::Bytes;
use prost::Message as _;

use super::{
    ACK, binary,
    message::{Output, Payment, PaymentAck, PaymentVerification},
};
use crate::{
    api::{
        caller::Caller,
        reasons::Reason,
        settings::ApiSettings,
        state::Shared,
        submissions::{MOST_MEMO, transaction_of_bytes},
        wallet::WalletFault,
    },
    bch::{Address, MAX_MONEY, ScriptBuf},
    invoice::{InvoiceId, PayerNote, Refund, Statement, Via},
    ledger::View,
    submit::{MOST_TRANSACTIONS, Submission},
};

/// The longest locking script that nodes relay, data carriers included: to a longer one no refund can be sent.
const MOST_SCRIPT: usize = 223;

/// Takes a payment.
///
/// # Errors
///
/// [`WalletFault`]: why it is not taken.
pub(in crate::api) async fn pay<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    statement: &Statement,
    caller: Caller,
    body: Bytes,
) -> Result<Response, WalletFault> {
    let submission = {
        // Decoded it takes many times its bytes; nothing of that is kept while the node is asked.
        let payment = Payment::decode(body.clone()).map_err(|_| WalletFault::unreadable())?;
        let note = note(&payment, &shared.state.settings);
        submission(statement.invoice.id, &payment.transactions, note, None)
    };
    shared.pay(caller, submission).await.map_err(fault)?;
    let memo = Some("Thank you, the payment was received".to_owned());
    Ok(binary(ACK, &PaymentAck { payment: body, memo }))
}

/// Whether a transaction would be taken. The answer has the form of an acknowledgement, for there is no other.
///
/// # Errors
///
/// [`WalletFault`]: what is wrong with it.
pub(in crate::api) async fn verify<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    statement: &Statement,
    caller: Caller,
    body: &Bytes,
) -> Result<Response, WalletFault> {
    let verification = PaymentVerification::decode(body.clone()).map_err(|_| WalletFault::unreadable())?;
    let weighted_size = usize::try_from(verification.weighted_size).ok();
    let transactions = [verification.unsigned_transaction];
    let submission = submission(statement.invoice.id, &transactions, PayerNote::default(), weighted_size);
    shared.verify(caller, submission).await.map_err(fault)?;
    let [transaction] = transactions;
    let payment = Payment { transactions: vec![transaction], ..Payment::default() };
    let memo = Some("Payment appears valid".to_owned());
    Ok(binary(ACK, &PaymentAck { payment: payment.encode_to_vec().into(), memo }))
}

fn submission(
    invoice: InvoiceId,
    transactions: &[Bytes],
    note: PayerNote,
    weighted_size: Option<usize>,
) -> Result<Submission, Reason> {
    // How many there may be is a rule of submissions; here nobody decodes more than that.
    let decoded = transactions.iter().take(MOST_TRANSACTIONS + 1);
    let transactions: Vec<_> =
        decoded.map(|raw| Ok(transaction_of_bytes(raw.clone())?.shared())).collect::<Result<_, Reason>>()?;
    Ok(Submission { invoice, transactions, note, via: Via::Bip70, weighted_size })
}

/// What the payer says with a payment. None of it is worth a payment: what is too long is cut, and what is no output
/// is left out.
fn note(payment: &Payment, settings: &ApiSettings) -> PayerNote {
    let memo = payment.memo.as_deref().map(String::from_utf8_lossy);
    let memo = memo.map(|memo| memo.chars().take(MOST_MEMO).collect::<String>());
    let refunds = payment.refund_to.iter().filter(|output| (1..=MOST_SCRIPT).contains(&output.script.len()));
    PayerNote {
        memo: memo.filter(|memo| !memo.is_empty()),
        refund_to: refunds.take(settings.max_outputs).map(|output| refund(output, settings)).collect(),
    }
}

/// Wallets that don't know the amount write 0 or nothing.
fn refund(output: &Output, settings: &ApiSettings) -> Refund {
    let script = ScriptBuf::from(output.script.to_vec());
    let address = Address::of_script(&script, settings.network).map(|address| address.to_string());
    Refund { script, address, satoshis: output.amount.filter(|amount| (1..=MAX_MONEY).contains(amount)) }
}

/// Everything that a payer should read is 400: of other codes some wallets show only the code.
fn fault(reason: Reason) -> WalletFault {
    WalletFault::of_submission(reason, StatusCode::BAD_REQUEST)
}
