//! `POST /jpp/invoices/{id}/cancel`: its merchant withdraws an invoice.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::Response,
};

use super::{Fault, InvoiceName, fault::json, request::other_outcome};
use crate::{
    api::{
        document::{InvoiceDocument, View as DocumentView},
        state::Shared,
    },
    ledger::{Action, Managed, Outcome},
};

/// Withdraws it. What the body says is not asked for.
pub(super) async fn cancel<S: Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    InvoiceName(invoice): InvoiceName,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let merchant = shared.merchant_required(&headers)?;
    managed(&shared, Action::Cancel { invoice, merchant }).await
}

/// Does what a merchant asks with an invoice, and shows it as it is then.
pub(super) async fn managed<S: Send + Sync + 'static>(
    shared: &Shared<S>,
    action: Action,
) -> Result<Response, Fault> {
    match shared.apply(action).await? {
        Outcome::Managed(Managed::Done(statement)) => {
            let view = DocumentView::of_merchant(&shared.state.settings);
            Ok(json(StatusCode::OK, &InvoiceDocument::new(&statement, view)))
        }
        Outcome::Managed(Managed::Unknown) => Err(Fault::NotFound),
        Outcome::Managed(Managed::ClaimOpen) => {
            Err(Fault::Conflict("This invoice cannot be cancelled: a payment is under way."))
        }
        Outcome::Managed(Managed::Paid) => {
            Err(Fault::Conflict("This invoice cannot be cancelled: a payment was received."))
        }
        Outcome::Managed(Managed::NothingLikeIt) => {
            Err(Fault::Conflict("This invoice asks for nothing that this payment could be."))
        }
        outcome @ (Outcome::Done | Outcome::Part { .. } | Outcome::Created(_) | Outcome::Claimed(_)) => {
            Err(other_outcome(&outcome))
        }
    }
}
