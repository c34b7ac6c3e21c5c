//! What to pay.

use axum::response::Response;
use bytes::Bytes;
use prost::Message as _;

use super::{
    REQUEST, binary,
    message::{Output, PaymentDetails, PaymentRequest, X509Certificates},
};
use crate::{
    api::{
        bitpay::memo, document::payment_url, settings::ApiSettings, signing::X509Signer, state::ApiState,
        wallet::WalletFault,
    },
    bch::FeeRate,
    invoice::{Invoice, Statement},
};

/// The only version of the details that there is.
const VERSION: u32 = 1;

/// The document of an invoice: signed if there is a certificate, and it is valid at the moment.
///
/// # Errors
///
/// [`WalletFault`] if it asks for tokens, which this protocol has no field for.
pub(in crate::api) fn request<S>(
    state: &ApiState<S>,
    statement: &Statement,
) -> Result<Response, WalletFault> {
    let invoice = &statement.invoice;
    if invoice.outputs.iter().any(|output| output.token.is_some()) {
        return Err(WalletFault::bad(
            "tokens",
            "This invoice asks for CashTokens; open it in a token wallet",
        ));
    }
    let mut request = PaymentRequest {
        payment_details_version: Some(VERSION),
        pki_type: Some("none".to_owned()),
        pki_data: None,
        serialized_payment_details: details(invoice, &state.settings).encode_to_vec().into(),
        signature: None,
    };
    if let Some(signer) = &state.signing.x509
        && signer.validity().holds_at(state.engine.now())
    {
        request = sign(request, signer)?;
    }
    Ok(binary(REQUEST, &request))
}

/// The request with a signature over all of it, made while the signature is there and empty.
fn sign(request: PaymentRequest, signer: &X509Signer) -> Result<PaymentRequest, WalletFault> {
    let certificate = signer.pki_data().iter().map(|der| Bytes::copy_from_slice(der)).collect();
    let mut request = PaymentRequest {
        pki_type: Some("x509+sha256".to_owned()),
        pki_data: Some(X509Certificates { certificate }.encode_to_vec().into()),
        signature: Some(Bytes::new()),
        ..request
    };
    let signature = signer.sign(&request.encode_to_vec()).map_err(|error| {
        tracing::error!(%error, "a payment request could not be signed");
        WalletFault::bug()
    })?;
    request.signature = Some(signature.into());
    Ok(request)
}

fn details(invoice: &Invoice, settings: &ApiSettings) -> PaymentDetails {
    let output = |output: &crate::invoice::RequiredOutput| Output {
        amount: Some(output.satoshis),
        script: Bytes::copy_from_slice(output.script.as_bytes()),
    };
    PaymentDetails {
        network: Some(settings.network.wire().to_owned()),
        outputs: invoice.outputs.iter().map(output).collect(),
        time: invoice.created.secs(),
        expires: Some(invoice.expires.secs()),
        memo: Some(memo(invoice)),
        payment_url: Some(payment_url(&settings.public_url, invoice.id)),
        merchant_data: Some(Bytes::copy_from_slice(invoice.id.as_bytes())),
        required_fee_rate: Some(as_float(invoice.fee_rate)),
    }
}

/// A fee rate as the message has it: the nearest float to its decimals, without any arithmetic.
fn as_float(rate: FeeRate) -> f32 {
    rate.to_string().parse().unwrap_or(1.0)
}
