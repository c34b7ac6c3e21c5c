//! `GET /jpp/`: what there is.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{StatusCode, Uri},
    response::Response,
};
use serde_json::json;

use super::fault::json;
use crate::api::state::Shared;

/// Where invoices are created.
pub(super) async fn list<S>(State(shared): State<Arc<Shared<S>>>, uri: Uri) -> Response {
    let url = format!("{}{}/invoices/", shared.state.settings.public_url, uri.path().trim_end_matches('/'));
    json(StatusCode::OK, &json!({ "invoices": url }))
}
