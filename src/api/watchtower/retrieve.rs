//! `GET /jpp/invoices/{id}/`: an invoice as it stands.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{Fault, InvoiceName, fault::json};
use crate::{
    api::{
        document::{InvoiceDocument, View as DocumentView},
        state::Shared,
    },
    ledger::View,
};

/// The invoice: everything to its merchant, and to everybody else what concerns a payer.
pub(super) async fn retrieve<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(id): InvoiceName,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let merchant = shared.merchant(&headers)?;
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
