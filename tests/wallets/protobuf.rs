//! BIP70's messages as its document has them, written down again: what the daemon writes must be read by others, not by
//! itself.

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message as _;

use crate::http::Answer;

pub(crate) const REQUEST: &str = "application/bitcoincash-paymentrequest";
pub(crate) const PAYMENT: &str = "application/bitcoincash-payment";
pub(crate) const ACK: &str = "application/bitcoincash-paymentack";

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Output {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) amount: Option<u64>,
    #[prost(bytes = "vec", required, tag = "2")]
    pub(crate) script: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Details {
    #[prost(string, optional, tag = "1")]
    pub(crate) network: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) outputs: Vec<Output>,
    #[prost(uint64, required, tag = "3")]
    pub(crate) time: u64,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) expires: Option<u64>,
    #[prost(string, optional, tag = "5")]
    pub(crate) memo: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(crate) payment_url: Option<String>,
    #[prost(bytes = "vec", optional, tag = "7")]
    pub(crate) merchant_data: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) version: Option<u32>,
    #[prost(string, optional, tag = "2")]
    pub(crate) pki_type: Option<String>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) pki_data: Option<Vec<u8>>,
    #[prost(bytes = "vec", required, tag = "4")]
    pub(crate) details: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(crate) signature: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Certificates {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub(crate) certificates: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Payment {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) merchant_data: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) transactions: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) refund_to: Vec<Output>,
    #[prost(string, optional, tag = "4")]
    pub(crate) memo: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ack {
    #[prost(message, required, tag = "1")]
    pub(crate) payment: Payment,
    #[prost(string, optional, tag = "2")]
    pub(crate) memo: Option<String>,
}

/// What every BIP70 wallet asks of a payment request: exactly its media type, a version that is written down, a network,
/// an amount in front of every script, times, a text, a URL, and data that is no JSON.
pub(crate) fn read_request(answer: &Answer) -> Result<Details> {
    answer.expect(200)?;
    ensure!(answer.has("content-type")? == REQUEST, "compared as a text: {answer:?}");
    ensure!(answer.has("content-transfer-encoding")? == "binary", "{answer:?}");
    ensure!(answer.body.len() < 50_000, "wallets read no more");
    let request = Request::decode(answer.body.as_slice())?;
    ensure!(request.version == Some(1), "the version is written though 1 is its default: {request:?}");
    // Signed or not, it says which.
    match request.pki_type.as_deref() {
        Some("none") => ensure!(request.pki_data.is_none() && request.signature.is_none(), "{request:?}"),
        Some("x509+sha256") => {
            ensure!(request.pki_data.is_some() && request.signature.is_some(), "{request:?}")
        }
        other => bail!("{other:?} is no type of signature"),
    }
    let details = Details::decode(request.details.as_slice())?;
    ensure!(details.network.as_deref() == Some("regtest"), "{details:?}");
    ensure!(!details.outputs.is_empty() && details.outputs.iter().all(|output| output.amount.is_some()));
    for output in &details.outputs {
        // The amount stands before the script: a wallet takes the output as complete once it has that.
        let encoded = output.encode_to_vec();
        let found = request.details.windows(encoded.len()).any(|window| window == encoded);
        ensure!(encoded.first() == Some(&0x08) && found, "{output:?}");
    }
    ensure!(details.expires.is_some_and(|expires| expires > details.time), "{details:?}");
    ensure!(details.memo.as_deref().is_some_and(|memo| !memo.is_empty()), "{details:?}");
    let data = details.merchant_data.as_deref().context("merchant_data")?;
    ensure!(serde_json::from_slice::<serde_json::Value>(data).is_err(), "no wallet takes it for JSON");
    ensure!(data.is_ascii(), "a wallet that keeps it as a text echoes the same bytes: {data:?}");
    Ok(details)
}

/// What every BIP70 wallet asks of an acknowledgement: status 200, exactly its media type, the payment byte for byte, and
/// a text for the payer.
pub(crate) fn read_ack(answer: &Answer, payment: &[u8]) -> Result<Ack> {
    answer.expect(200)?;
    ensure!(answer.has("content-type")? == ACK, "compared as a text: {answer:?}");
    ensure!(answer.body.len() < 60_000, "wallets read no more");
    let ack = Ack::decode(answer.body.as_slice())?;
    ensure!(answer.body.windows(payment.len()).any(|window| window == payment), "the payment comes back");
    ensure!(ack.payment == Payment::decode(payment)?, "{ack:?}");
    ensure!(ack.memo.as_deref().is_some_and(|memo| !memo.is_empty()), "{ack:?}");
    Ok(ack)
}
