//! BIP70, the payment protocol of protocol buffers, with the media types of Bitcoin Cash (BIP71).
//!
//! Sources: BIP70, BIP71, BitPay's extension of both, and the wallets. What they need beyond the letter:
//!
//! - `payment_details_version`, and the amount of every output, are always written, though both have defaults;
//! - media types without parameters: Electron Cash compares them as texts;
//! - status 400, and plain text, for everything that the payer should read: of any other code Electron Cash shows only
//!   the code;
//! - the acknowledgement repeats the payment byte for byte: wallets find their transaction in it;
//! - the time is that of the invoice, not of the request: a wallet whose clock is a second behind refuses what comes
//!   from the future;
//! - `merchant_data` is an opaque token in ASCII: one wallet breaks on JSON in it, others keep it as a text. What comes
//!   back in it proves nothing, and is not looked at: a payment that echoes the 16 bytes of older versions is taken.
//!
//! There is no field for tokens. A wallet would pay an invoice that asks for some in satoshis alone, and broadcast that
//! whatever it is told; so such an invoice has no document here.

pub(super) mod message;
mod payment;
mod request;
mod signatures;

pub(super) use payment::{pay, verify};
pub(super) use request::request;
pub(super) use signatures::Signatures;

/// What to pay, asked for with `GET`.
pub(super) const REQUEST: &str = "application/bitcoincash-paymentrequest";
/// The payment.
pub(super) const PAYMENT: &str = "application/bitcoincash-payment";
/// The answer to a payment.
const ACK: &str = "application/bitcoincash-paymentack";
/// BitPay's extension: would this be taken?
pub(super) const VERIFICATION: &str = "application/bitcoincash-verify-payment";
/// The same, as one wallet spells it.
pub(super) const VERIFICATION_TOO: &str = "application/bitcoincash-verifypayment";

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};
use prost::Message;

/// A message as BIP71 wants it sent.
fn binary(content_type: &'static str, message: &impl Message) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (HeaderName::from_static("content-transfer-encoding"), HeaderValue::from_static("binary")),
    ];
    (StatusCode::OK, headers, message.encode_to_vec()).into_response()
}
