//! The body of a submission: the transaction, and what the payer says with it.

use axum::body::Bytes;

use super::{
    Complaint, Fault,
    creation::MOST_MEMO,
    fields::{Form, Value, filled_text, integer_within, list, text_within},
    outputs::address,
};
use crate::{
    api::{reasons::Reason, settings::ApiSettings},
    bch::{MAX_MONEY, MAX_TRANSACTION_BYTES, Transaction, TransactionError},
    invoice::{PayerNote, Refund},
};

/// The transaction of a body, as it is written: whether it is one is found out later.
pub(super) fn for_verification(body: &[u8]) -> Result<String, Fault> {
    let mut form = Form::of_body(body)?;
    let raw = form.required("raw_tx_hex", filled_text);
    form.finish()?;
    Ok(raw.unwrap_or_default())
}

/// The transaction of a body, as it is written, and the payer's note.
pub(super) fn for_payment(body: &[u8], settings: &ApiSettings) -> Result<(String, PayerNote), Fault> {
    let mut form = Form::of_body(body)?;
    let raw = form.required("raw_tx_hex", filled_text);
    let memo = form.optional("memo", |value| text_within(value, MOST_MEMO));
    let refund_to = form.optional("refund_to", |value| refunds(value, settings));
    form.finish()?;
    Ok((raw.unwrap_or_default(), PayerNote { memo, refund_to: refund_to.unwrap_or_default() }))
}

/// The transaction of its hexadecimal digits.
///
/// # Errors
///
/// The [`Reason`] for the payer.
pub(super) fn transaction(digits: &str) -> Result<Transaction, Reason> {
    if digits.len() > 2 * MAX_TRANSACTION_BYTES {
        return Err(TransactionError::TooLarge.into());
    }
    let raw = hex::decode(digits).map_err(|_| Reason::not_hex())?;
    Ok(Transaction::decode_submitted(Bytes::from(raw))?)
}

fn refunds(value: Value<'_>, settings: &ApiSettings) -> Result<Vec<Refund>, Complaint> {
    let values = list(value)?;
    if values.len() > settings.max_outputs {
        let text = format!("Ensure this field has no more than {} elements.", settings.max_outputs);
        return Err(Complaint::text(text));
    }
    let refunds: Vec<_> = values.into_iter().map(|value| refund(value, settings)).collect();
    if refunds.iter().all(Result::is_ok) {
        return Ok(refunds.into_iter().flatten().collect());
    }
    let complaint = |refund: Result<_, Complaint>| refund.err().unwrap_or_else(Complaint::none);
    Err(Complaint::Items(refunds.into_iter().map(complaint).collect()))
}

fn refund(value: Value<'_>, settings: &ApiSettings) -> Result<Refund, Complaint> {
    let mut form = Form::of_value(value)?;
    let address = form.required("address", |value| address(value, settings.network));
    let satoshis = form.optional("amount", |value| integer_within(value, 1, MAX_MONEY));
    form.finish()?;
    let address = address.ok_or_else(Complaint::none)?.to_string();
    Ok(Refund { address, satoshis })
}
