//! The REST dialect: Watchtower's `jpp`, field for field, with its defects mended.
//!
//! It is served at `/jpp/…` as its documentation says and at `/api/jpp/…` as it was really mounted, and an invoice as
//! well at `/i/{id}`, which is its `payment_url`; everything with and without a slash at its end, and nothing ever
//! redirects, because a redirected POST becomes a GET without a body in most clients.
//!
//! Errors have the shape of Django REST framework, which clients of the original parse: [`Complaint`]s by field,
//! `non_field_errors` for the whole, `detail` for everything that is not about the body. [`Fault`] is all of them.
//!
//! # Where this is stricter than the original, and where it is not
//!
//! - The original took any number for an amount and any text for an address. Here both are checked.
//! - The original showed everything to everybody and let everybody create. Here creation, cancellation and assignment
//!   want a key, and so does `merchant_data`, unless the configuration says otherwise.
//! - A token is accepted at an address that does not say it is token-aware (`q…`, `p…`), as the original did: the
//!   output's `token` tells every wallet that can pay it, and a submission without the token is refused. Wallets are
//!   shown the type that follows the output.
//! - A field that is unknown is ignored, and of a field that comes twice the last one holds, as in the original.
//! - `Accept` is looked at for an invoice alone (`wallet`): every other answer is JSON, where the original refused whoever
//!   asked for `text/html` alone.
//! - `payment_url` is there in messages of sockets too, where the original had `null` for want of a request.
//! - The fields that are new (`expires`, `expires_in`, `required_fee_per_byte`, `confirmations_required`) may be
//!   `null`, which is the same as leaving them out.

mod assign;
mod cancel;
mod complaint;
mod create;
mod creation;
mod fault;
mod fields;
mod outputs;
mod payments;
mod request;
mod retrieve;
mod root;
mod submission;
mod submit;
mod unassigned;

use std::sync::Arc;

use axum::{
    Router,
    http::Method,
    routing::{MethodRouter, get, post},
};

pub(super) use complaint::Complaint;
pub(super) use fault::{Fault, json};
pub(super) use request::{InvoiceName, invoice_id};
pub(super) use retrieve::show_invoice;

use super::state::Shared;
use crate::ledger::View;

/// The routes of the dialect.
pub(super) fn routes<S: View + Send + Sync + 'static>() -> Router<Arc<Shared<S>>> {
    let mut routes = Router::new();
    for mount in ["/jpp", "/api/jpp"] {
        let at = |path: &str| format!("{mount}{path}");
        routes = both(routes, mount, reading(get(root::list)));
        routes = both(routes, &at("/invoices"), writing(post(create::create)));
        routes = both(routes, &at("/invoices/{id}/verify"), writing(post(submit::verify)));
        routes = both(routes, &at("/invoices/{id}/pay"), writing(post(submit::pay)));
        routes = both(routes, &at("/invoices/{id}/cancel"), writing(post(cancel::cancel)));
        routes = both(routes, &at("/invoices/{id}/assign"), writing(post(assign::assign)));
        routes = both(routes, &at("/invoices/{id}/payments"), reading(get(payments::list)));
        routes = both(routes, &at("/payments/unassigned"), reading(get(unassigned::list)));
    }
    routes = both(routes, "/i/{id}/verify", writing(post(submit::verify)));
    both(routes, "/i/{id}/pay", writing(post(submit::pay)))
}

/// A route with and without a slash at its end.
pub(super) fn both<T: Clone + Send + Sync + 'static>(
    routes: Router<T>,
    path: &str,
    methods: MethodRouter<T>,
) -> Router<T> {
    routes.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

/// Where things are read: every other method is answered in the dialect.
pub(super) fn reading<T: Clone + Send + Sync + 'static>(methods: MethodRouter<T>) -> MethodRouter<T> {
    methods.fallback(async |method: Method| Fault::MethodNotAllowed { method, allow: "GET, HEAD, OPTIONS" })
}

/// Where things are done: the same.
fn writing<T: Clone + Send + Sync + 'static>(methods: MethodRouter<T>) -> MethodRouter<T> {
    methods.fallback(async |method: Method| Fault::MethodNotAllowed { method, allow: "POST, OPTIONS" })
}
