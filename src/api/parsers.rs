//! The parsers of what strangers send, each by itself, without a server around it: what the fuzzers open.

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, ACCEPT_LANGUAGE},
};
use bytes::Bytes;
use prost::Message as _;

use super::{
    bip70::message::{Payment as Bip70Payment, PaymentAck, PaymentVerification},
    bitpay::body::{Payment, Proposal, Selection},
    language,
    media::Accept,
    wallet::OFFERS,
};

/// A request's headers with one of them; `None` if no header has this value.
fn headers(name: HeaderName, value: &[u8]) -> Option<HeaderMap> {
    Some(HeaderMap::from_iter([(name, HeaderValue::from_bytes(value).ok()?)]))
}

/// Which of the documents of an invoice an `Accept` header chooses, by its place in a list; `None` for none of them.
pub fn accept(header: &[u8]) -> Option<usize> {
    let headers = headers(ACCEPT, header)?;
    let offers: Vec<(&str, usize)> = (0..).zip(OFFERS).map(|(place, (name, _))| (name, place)).collect();
    Accept::of(&headers).choose(&offers)
}

/// Which of some languages an `Accept-Language` header chooses, by its place in the list; `None` for none of them.
pub fn accept_language(header: &[u8], languages: &[&str]) -> Option<usize> {
    let headers = headers(ACCEPT_LANGUAGE, header)?;
    let offers: Vec<(&str, usize)> = (0..).zip(languages).map(|(place, name)| (*name, place)).collect();
    language::choose(&headers, &offers)
}

/// Whether a body selects how to pay, as JPP v2 has it.
pub fn jpp_selection(body: &[u8]) -> bool {
    Selection::read(body).is_ok()
}

/// The transaction of a verification of JPP v1, as it is written there.
pub fn jpp_proposal(body: &[u8]) -> Option<String> {
    Proposal::read(body).ok().map(|submitted| submitted.hex)
}

/// The transaction of a payment of JPP v1 or v2, as it is written there.
pub fn jpp_payment(body: &[u8]) -> Option<String> {
    Payment::read(body).ok().map(|payment| payment.transaction.hex)
}

/// The transactions of a payment of BIP70, and the acknowledgement that it gets.
pub fn bip70_payment(body: Bytes) -> Option<(Vec<Bytes>, Vec<u8>)> {
    let transactions = Bip70Payment::decode(body.clone()).ok()?.transactions;
    Some((transactions, PaymentAck { payment: body, memo: None }.encode_to_vec()))
}

/// The transaction of a verification of BIP70, in BitPay's extension.
pub fn bip70_verification(body: Bytes) -> Option<Bytes> {
    PaymentVerification::decode(body).ok().map(|verification| verification.unsigned_transaction)
}
