//! What to pay.

use axum::response::Response;
use bytes::Bytes;
use prost::Message as _;

use super::{
    REQUEST, Signatures, binary,
    message::{Output, PaymentDetails, PaymentRequest, X509Certificates},
};
use crate::{
    api::{bitpay::memo, document::payment_url, settings::ApiSettings, state::Shared, wallet::WalletFault},
    bch::FeeRate,
    invoice::{Invoice, Statement},
};

/// Begins `merchant_data`, before the invoice's id in hex. All of it is ASCII, for wallets that keep it as a text and
/// echo what that text became; and none of it is JSON, which an id of digits alone would be.
const TOKEN: &str = "invoice:";

/// The only version of the details that there is.
const VERSION: u32 = 1;

/// The document of an invoice: signed if there is a certificate, and it is valid at the moment.
///
/// # Errors
///
/// [`WalletFault`] if it asks for tokens, which this protocol has no field for.
pub(in crate::api) async fn request<S>(
    shared: &Shared<S>,
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
        serialized_payment_details: details(invoice, &shared.state.settings).encode_to_vec().into(),
        signature: None,
    };
    if let Some(signatures) = &shared.signatures
        && signatures.signer().validity().holds_at(shared.state.engine.now().wall)
    {
        request = sign(request, signatures).await?;
    }
    Ok(binary(REQUEST, &request))
}

/// The request with a signature over all of it, made while the signature is there and empty.
async fn sign(request: PaymentRequest, signatures: &Signatures) -> Result<PaymentRequest, WalletFault> {
    let certificate = signatures.signer().pki_data().iter().map(|der| Bytes::copy_from_slice(der)).collect();
    let mut request = PaymentRequest {
        pki_type: Some("x509+sha256".to_owned()),
        pki_data: Some(X509Certificates { certificate }.encode_to_vec().into()),
        signature: Some(Bytes::new()),
        ..request
    };
    let signature = signatures.of(request.encode_to_vec()).await.map_err(|error| {
        tracing::error!(%error, "a payment request could not be signed");
        WalletFault::bug()
    })?;
    request.signature = Some(signature);
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
        merchant_data: Some(format!("{TOKEN}{}", invoice.id).into()),
        required_fee_rate: Some(as_float(invoice.fee_rate)),
    }
}

/// A fee rate as the message has it: the nearest float to its decimals, without any arithmetic.
fn as_float(rate: FeeRate) -> f32 {
    rate.to_string().parse().unwrap_or(1.0)
}
