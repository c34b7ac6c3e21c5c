//! `GET /i/{id}/qr.svg` and `/i/{id}/qr.png`: the QR code that opens a wallet, `?uri=bip21` for those that know no
//! payment protocol, `?uri=rest` for what is missing after a payment in part.

use std::{collections::HashMap, sync::Arc};

use axum::{
    extract::{Query, State},
    http::{HeaderMap, HeaderValue, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;

use super::{Name, WalletFault, find};
use crate::{
    api::{
        qr::Form,
        state::Shared,
        uri::{bip21_uri, payment_uri, rest},
    },
    ledger::View,
};

/// The code as SVG.
pub(super) async fn svg<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    Name(name): Name,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let code = image(&shared, &name, &query, Form::Svg).await;
    answer(code, "image/svg+xml", &headers)
}

/// The code as PNG.
pub(super) async fn png<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    Name(name): Name,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let code = image(&shared, &name, &query, Form::Png).await;
    answer(code, "image/png", &headers)
}

async fn image<S: View + Send + Sync + 'static>(
    shared: &Shared<S>,
    name: &str,
    query: &HashMap<String, String>,
    form: Form,
) -> Result<Bytes, WalletFault> {
    let statement = find(shared, name).await?;
    let invoice = &statement.invoice;
    let settings = &shared.state.settings;
    let uri = match query.get("uri").map(String::as_str) {
        None => payment_uri(invoice, settings),
        Some("bip21") => bip21_uri(invoice, settings).ok_or_else(|| {
            let text = "This invoice asks for more than a BIP21 URI can say; open it in a wallet that knows JPP or BIP70";
            WalletFault::bad("no_bip21", text)
        })?,
        Some("rest") => rest(&statement, settings.network).map(|rest| rest.uri).ok_or_else(|| {
            WalletFault::bad("no_rest", "This invoice has no rest that a single payment to its address would pay")
        })?,
        Some(_) => {
            return Err(WalletFault::bad("unknown_uri", "The parameter uri is left out, or bip21, or rest"));
        }
    };
    shared.codes.of(form, uri).await.map_err(|error| {
        tracing::error!(%error, "a QR code could not be drawn; http.public_url may be too long");
        WalletFault::bug()
    })
}

fn answer(image: Result<Bytes, WalletFault>, content_type: &'static str, headers: &HeaderMap) -> Response {
    match image {
        Ok(image) => ([(CONTENT_TYPE, HeaderValue::from_static(content_type))], image).into_response(),
        Err(fault) => fault.answer(headers),
    }
}
