//! `POST /jpp/invoices/{id}/verify` and `…/pay`: a wallet hands over a transaction.
//!
//! Neither wants a key, and neither looks at one: who pays is no business of ours.

use std::sync::Arc;

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
};
use serde_json::json;

use super::{
    Complaint, Fault, InvoiceName,
    fault::json,
    request::JSON_TYPES,
    submission::{for_payment, for_verification},
};
use crate::{
    api::{
        caller::Caller,
        document::{InvoiceDocument, View as DocumentView},
        limits::Rate,
        reasons::{Class, Reason},
        state::{MOST_SUBMISSION, Shared},
        submissions::transaction_of_hex,
    },
    invoice::{InvoiceId, PayerNote, Via},
    ledger::View,
    submit::Submission,
};

/// Whether the transaction would pay the invoice. Nothing is kept and nothing is sent.
pub(super) async fn verify<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(invoice): InvoiceName,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let body = taken(&shared, &shared.verify_rate, invoice, caller, request).await?;
    let raw = shared.parsed(&body, for_verification).await??;
    drop(body);
    match shared.verify(caller, submission(invoice, &raw, PayerNote::default())).await {
        Ok(()) => Ok(json(StatusCode::OK, &json!({"valid": true}))),
        Err(reason) => Err(fault(reason, Fault::NotValid)),
    }
}

/// Pays the invoice with the transaction, and answers with the invoice.
pub(super) async fn pay<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(invoice): InvoiceName,
    caller: Caller,
    request: Request,
) -> Result<Response, Fault> {
    let body = taken(&shared, &shared.pay_rate, invoice, caller, request).await?;
    let state = shared.clone();
    let (raw, note) = shared.parsed(&body, move |body| for_payment(body, &state.state.settings)).await??;
    drop(body);
    let paid = shared.pay(caller, submission(invoice, &raw, note)).await;
    paid.map_err(|reason| fault(reason, |text| Complaint::whole(text).into()))?;
    let statement = shared.statement(invoice).await?;
    let view = DocumentView::of_public(&shared.state.settings);
    Ok(json(StatusCode::OK, &InvoiceDocument::new(&statement, view)))
}

/// The body of a submission that comes neither too often nor for nothing.
async fn taken<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    rate: &Rate,
    invoice: InvoiceId,
    caller: Caller,
    request: Request,
) -> Result<Bytes, Fault> {
    caller.take(rate).map_err(Fault::Throttled)?;
    shared.must_exist(invoice).await?;
    shared.body(request, &JSON_TYPES, MOST_SUBMISSION).await
}

fn submission(invoice: InvoiceId, raw: &str, note: PayerNote) -> Result<Submission, Reason> {
    let transactions = vec![transaction_of_hex(raw)?.shared()];
    Ok(Submission { invoice, transactions, note, via: Via::Api, weighted_size: None })
}

/// A reason in this dialect; what is refused is wrapped as the endpoint wraps it.
fn fault(reason: Reason, refused: impl FnOnce(String) -> Fault) -> Fault {
    match reason.class {
        Class::NotFound => Fault::NotFound,
        Class::Refused | Class::Inputs => refused(words(reason)),
        Class::Throttled(wait) => Fault::Throttled(wait),
        Class::Away { retry_after } => Fault::Away { retry_after, text: reason.text },
    }
}

/// The original's words where it had some that a client can look for, and those of every dialect for the rest.
fn words(reason: Reason) -> String {
    match reason.code {
        "paid" => "invoice is already paid".to_owned(),
        "expired" => "invoice is expired".to_owned(),
        _ => reason.text,
    }
}
