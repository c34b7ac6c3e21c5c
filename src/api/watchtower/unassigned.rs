//! `GET /jpp/payments/unassigned`: the payments that no invoice could be found for.

use std::{cmp::Ordering, sync::Arc};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
    response::Response,
};
use serde::{Deserialize, Serialize};

use super::{Complaint, Fault, fault::json};
use crate::{
    api::{document::TokenDocument, state::Shared},
    bch::{Address, Network, OutPoint, Transaction},
    invoice::Merchant,
    ledger::{
        self, ReadError, Reads, View,
        tables::{Transactions, UnassignedPayment, UnassignedReason},
    },
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
    payments: Vec<PaymentDocument>,
    /// What to give as `after` for the next page; `null` if this is the last one for now.
    next: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PaymentDocument {
    txid: String,
    vout: u32,
    amount: u64,
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<TokenDocument>,
    first_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A page of the merchant's unassigned payments, and of those that belong to nobody, in the order they were met.
pub(super) async fn list<S: View + Send + Sync + 'static>(
    State(shared): State<Arc<Shared<S>>>,
    from: Result<Query<From>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let merchant = shared.merchant_required(&headers)?;
    let Ok(Query(From { after })) = from else {
        return Err(Complaint::field("after", "A valid integer is required.").into());
    };
    let network = shared.state.settings.network;
    let page = shared.read(move |store| page(store, &merchant, after.unwrap_or_default(), network)).await?;
    Ok(json(StatusCode::OK, &page))
}

fn page<S: View>(store: &S, merchant: &Merchant, after: u64, network: Network) -> Result<Page, ReadError> {
    let mut payments = ledger::unassigned_of(store, merchant, after, PAGE)?;
    payments.extend(ledger::unassigned_of(store, &Merchant::anyone(), after, PAGE)?);
    payments.sort_by_key(|(_, payment)| payment.ordinal);
    let next = match payments.len().cmp(&PAGE) {
        Ordering::Less => None,
        Ordering::Equal | Ordering::Greater => {
            payments.truncate(PAGE);
            payments.last().map(|(_, payment)| payment.ordinal)
        }
    };
    let payments = payments
        .into_iter()
        .map(|(outpoint, payment)| document(store, outpoint, &payment, network))
        .collect::<Result<_, _>>()?;
    Ok(Page { payments, next })
}

fn document<S: View>(
    store: &S,
    outpoint: OutPoint,
    payment: &UnassignedPayment,
    network: Network,
) -> Result<PaymentDocument, ReadError> {
    // The payment knows the hash of its script; the script is in the transaction.
    let record = Reads::<Transactions>::get(store, &outpoint.txid)?;
    let transaction = record.and_then(|record| Transaction::decode(record.raw).ok());
    let address = transaction
        .as_ref()
        .and_then(|transaction| transaction.numbered_outputs().find(|(vout, _)| *vout == outpoint.vout))
        .and_then(|(_, output)| Address::of_script(&output.script, network));
    Ok(PaymentDocument {
        txid: outpoint.txid.to_string(),
        vout: outpoint.vout,
        amount: payment.satoshis,
        address: address.map(|address| address.to_string()),
        token: payment.token.as_ref().map(TokenDocument::from),
        first_seen: payment.first_seen.shown.to_string(),
        reason: payment.reason.map(UnassignedReason::name),
    })
}
