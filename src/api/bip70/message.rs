//! The messages of BIP70, as protocol buffers (proto2), with BitPay's two extensions: field 8 of the details, and the
//! verification.

use bytes::Bytes;

/// An amount to a locking script.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Output {
    /// Satoshis. Written always, and before the script: some wallets count on either.
    #[prost(uint64, optional, tag = "1")]
    pub(super) amount: Option<u64>,
    /// The locking script. Required: where it is missing it is read as empty.
    #[prost(bytes = "bytes", required, tag = "2")]
    pub(super) script: Bytes,
}

/// What to pay.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PaymentDetails {
    #[prost(string, optional, tag = "1")]
    pub(super) network: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(super) outputs: Vec<Output>,
    /// When the request was made, in seconds since 1970.
    #[prost(uint64, required, tag = "3")]
    pub(super) time: u64,
    /// Until when it can be paid, in seconds since 1970.
    #[prost(uint64, optional, tag = "4")]
    pub(super) expires: Option<u64>,
    #[prost(string, optional, tag = "5")]
    pub(super) memo: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(super) payment_url: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(super) merchant_data: Option<Bytes>,
    /// Satoshis per byte; BitPay's extension.
    #[prost(float, optional, tag = "8")]
    pub(super) required_fee_rate: Option<f32>,
}

/// The details, and who vouches for them.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PaymentRequest {
    #[prost(uint32, optional, tag = "1")]
    pub(super) payment_details_version: Option<u32>,
    #[prost(string, optional, tag = "2")]
    pub(super) pki_type: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(super) pki_data: Option<Bytes>,
    #[prost(bytes = "bytes", required, tag = "4")]
    pub(super) serialized_payment_details: Bytes,
    /// Present and empty while it is being made.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(super) signature: Option<Bytes>,
}

/// What a wallet pays with.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payment {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(super) merchant_data: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) transactions: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(super) refund_to: Vec<Output>,
    #[prost(string, optional, tag = "4")]
    pub(super) memo: Option<String>,
}

/// What it is answered. The payment is a message too; here it is the bytes that came, so that they go back to the
/// letter, whatever else stands in them.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PaymentAck {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(super) payment: Bytes,
    #[prost(string, optional, tag = "2")]
    pub(super) memo: Option<String>,
}

/// A transaction to be looked at; BitPay's extension.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PaymentVerification {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(super) unsigned_transaction: Bytes,
    /// The size it will have when it is signed, in bytes.
    #[prost(uint64, required, tag = "2")]
    pub(super) weighted_size: u64,
}
