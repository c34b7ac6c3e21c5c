//! `GET /jpp/invoices/{id}/payments`: every payment that was counted for an invoice, for its merchant.

use std::sync::Arc;

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{Complaint, Fault, InvoiceName, fault::json};
use crate::{
    api::{document::CreditDocument, state::Shared},
    invoice::InvoiceId,
    ledger::{self, ReadError, View},
};

/// How many payments one page has.
const PAGE: usize = 100;

/// Where a page begins.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    after: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Page {
    payments: Vec<CreditDocument>,
    /// Value of `after` for the next page; `null` if this is the last page for now.
    next: Option<u64>,
}

/// A page of the payments of an invoice, in the order of crediting. Another merchant's invoice is not found.
pub(super) async fn list<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(id): InvoiceName,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let merchant = shared.merchant_required(&headers)?;
    let Ok(Query(From { after })) = from else {
        return Err(Complaint::field("after", "A valid integer is required.").into());
    };
    if !merchant.manages(&shared.owner(id).await?) {
        return Err(Fault::NotFound);
    }
    let page = shared.read(move |store| page(store, id, after.unwrap_or_default())).await?;
    Ok(json(StatusCode::OK, &page))
}

fn page<S: View>(store: &S, id: InvoiceId, after: u64) -> Result<Page, ReadError> {
    let tip_height = ledger::tip_height(store)?;
    let mut credits = ledger::credits_after(store, id, after, PAGE + 1)?;
    let is_last = credits.len() <= PAGE;
    credits.truncate(PAGE);
    let next = credits.last().filter(|_| !is_last).map(|credit| credit.ordinal);
    let payments = credits.iter().map(|credit| CreditDocument::of(credit, tip_height)).collect();
    Ok(Page { payments, next })
}
