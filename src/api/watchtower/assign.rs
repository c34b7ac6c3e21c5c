//! `POST /jpp/invoices/{id}/assign`: its merchant says that a payment is for an invoice.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    Complaint, Fault, InvoiceName,
    cancel::managed,
    fields::{Form, integer_within, text},
    request::JSON_TYPES,
};
use crate::{
    api::state::{MOST_SUBMISSION, Shared},
    bch::{OutPoint, Txid},
    ledger::Action,
};

/// Gives the payment `{"txid": …, "vout": …}` to the invoice.
pub(super) async fn assign<S: Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(invoice): InvoiceName,
    request: Request,
) -> Result<Response, Fault> {
    let merchant = shared.merchant_required(request.headers())?;
    let body = shared.body(request, &JSON_TYPES, MOST_SUBMISSION).await?;
    let mut form = Form::of_body(&body)?;
    let txid = form.required("txid", |value| {
        text(value)?
            .parse::<Txid>()
            .map_err(|_| Complaint::text("Must be the 64 hexadecimal digits of a txid."))
    });
    let vout = form.required("vout", |value| integer_within(value, 0, u64::from(u32::MAX)));
    form.finish()?;
    let (Some(txid), Some(Ok(vout))) = (txid, vout.map(u32::try_from)) else {
        return Err(Complaint::none().into());
    };
    managed(&shared, Action::Assign { outpoint: OutPoint { txid, vout }, invoice, merchant }).await
}
