//! `GET` of an invoice: as it stands, in JSON.

use axum::{
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{Fault, fault::json, request::invoice_id};
use crate::{
    api::{
        document::{InvoiceDocument, View as DocumentView},
        state::Shared,
    },
    ledger::View,
};

/// The invoice: everything to its merchant, and to everybody else what concerns a payer.
pub(in crate::api) async fn show_invoice<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    name: &str,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let merchant = shared.merchant(headers)?;
    let id = invoice_id(name).ok_or(Fault::NotFound)?;
    let statement = shared.statement(id).await?;
    let settings = &shared.state.settings;
    let view = match merchant {
        Some(merchant) if merchant.manages(&statement.invoice.merchant) => {
            DocumentView::of_merchant(settings)
        }
        _ => DocumentView::of_public(settings),
    };
    Ok(json(StatusCode::OK, &InvoiceDocument::new(&statement, view)))
}
