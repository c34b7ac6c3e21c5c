//! The body of a submission: the transaction, and what the payer says with it.

use super::{
    Complaint, Fault,
    fields::{Form, Value, filled_text, integer_within, list, text_within},
    outputs::address,
};
use crate::{
    api::{settings::ApiSettings, submissions::MOST_MEMO},
    bch::MAX_MONEY,
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
    let address = address.ok_or_else(Complaint::none)?;
    Ok(Refund { script: address.script().clone(), address: Some(address.to_string()), satoshis })
}
