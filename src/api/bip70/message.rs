//! The messages of BIP70, as protocol buffers (proto2), with BitPay's two extensions: field 8 of the details, and the
//! verification.

use bytes::Bytes;

/// An amount to a locking script.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct Output {
    /// Satoshis. Written always, and before the script: some wallets count on either.
    #[prost(uint64, optional, tag = "1")]
    pub(in crate::api) amount: Option<u64>,
    /// The locking script. Required: where it is missing it is read as empty.
    #[prost(bytes = "bytes", required, tag = "2")]
    pub(in crate::api) script: Bytes,
}

/// What to pay.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct PaymentDetails {
    #[prost(string, optional, tag = "1")]
    pub(in crate::api) network: Option<String>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::api) outputs: Vec<Output>,
    /// When the request was made, in seconds since 1970.
    #[prost(uint64, required, tag = "3")]
    pub(in crate::api) time: u64,
    /// Until when it can be paid, in seconds since 1970.
    #[prost(uint64, optional, tag = "4")]
    pub(in crate::api) expires: Option<u64>,
    #[prost(string, optional, tag = "5")]
    pub(in crate::api) memo: Option<String>,
    #[prost(string, optional, tag = "6")]
    pub(in crate::api) payment_url: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(in crate::api) merchant_data: Option<Bytes>,
    /// Satoshis per byte; BitPay's extension.
    #[prost(float, optional, tag = "8")]
    pub(in crate::api) required_fee_rate: Option<f32>,
}

/// The details, and who vouches for them.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct PaymentRequest {
    #[prost(uint32, optional, tag = "1")]
    pub(in crate::api) payment_details_version: Option<u32>,
    #[prost(string, optional, tag = "2")]
    pub(in crate::api) pki_type: Option<String>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(in crate::api) pki_data: Option<Bytes>,
    #[prost(bytes = "bytes", required, tag = "4")]
    pub(in crate::api) serialized_payment_details: Bytes,
    /// Present and empty while it is being made.
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(in crate::api) signature: Option<Bytes>,
}

/// A chain of certificates in DER, the signer's own first.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct X509Certificates {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(in crate::api) certificate: Vec<Bytes>,
}

/// What a wallet pays with.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct Payment {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(in crate::api) merchant_data: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(in crate::api) transactions: Vec<Bytes>,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::api) refund_to: Vec<Output>,
    /// Text, if it is one.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(in crate::api) memo: Option<Bytes>,
}

/// What it is answered. The payment is a message too; here it is the bytes that came, so that they go back to the
/// letter, whatever else stands in them.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct PaymentAck {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(in crate::api) payment: Bytes,
    #[prost(string, optional, tag = "2")]
    pub(in crate::api) memo: Option<String>,
}

/// A transaction to be looked at; BitPay's extension.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::api) struct PaymentVerification {
    #[prost(bytes = "bytes", required, tag = "1")]
    pub(in crate::api) unsigned_transaction: Bytes,
    /// The size it will have when it is signed, in bytes.
    #[prost(uint64, required, tag = "2")]
    pub(in crate::api) weighted_size: u64,
}
