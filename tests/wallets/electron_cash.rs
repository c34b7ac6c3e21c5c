//! Electron Cash 4.4: BIP70 at every host but BitPay's own, and JPP v1 there.
//!
//! The requests are those of Python's `requests`.

use anyhow::{Context as _, ensure};
use prost::Message as _;
use serde_json::json;

use crate::{
    http::Header,
    json::{head, outputs, text, time},
    on_every_node,
    protobuf::{ACK, Output, PAYMENT, Payment, REQUEST, read_ack, read_request},
    shop::Shop,
    signature::check_signature,
};

const AGENT: Header<'static> = ("User-Agent", "Electron-Cash");
const ENCODING: Header<'static> = ("Accept-Encoding", "gzip, deflate");
const ALIVE: Header<'static> = ("Connection", "keep-alive");

on_every_node!(electron_cash_bip70, async |mut shop: Shop| {
    let invoice = shop.invoice(&[11_000, 12_000]).await?;
    let answer = shop.get(&invoice.url, &[AGENT, ENCODING, ("Accept", REQUEST), ALIVE]).await?;
    let details = read_request(&answer)?;
    let amounts: Vec<u64> = details.outputs.iter().filter_map(|output| output.amount).collect();
    ensure!(amounts == [11_000, 12_000], "{details:?}");
    for (output, (address, _)) in details.outputs.iter().zip(&invoice.outputs) {
        ensure!(output.script == regtest::wallet::script_of(address)?.to_bytes(), "{address}");
    }

    // One transaction, what came as merchant_data, and where to refund, without an amount.
    let signed = shop.sign(&invoice)?;
    let refund = shop.payer.wallet.address(5)?;
    let script = shop.payer.wallet.script(5)?.to_bytes();
    let payment = Payment {
        merchant_data: details.merchant_data.clone(),
        transactions: vec![signed.raw.clone()],
        refund_to: vec![Output { amount: None, script }],
        memo: Some("Paid using Electron Cash".to_owned()),
    };
    let payment = payment.encode_to_vec();
    let url = details.payment_url.as_deref().context("a payment_url")?;
    let headers =
        [AGENT, ENCODING, ("Accept", ACK), ALIVE, ("Content-Type", PAYMENT), ("Content-Length", "")];
    let answer = shop.post_bytes(url, &headers, &payment).await?;
    read_ack(&answer, &payment)?;
    let standing = shop.is_paid_with(&invoice, &signed).await?;
    let refunds = json!([{"amount": null, "address": refund, "description": null}]);
    ensure!(standing["payment"]["refund_to"] == refunds, "{standing}");
    ensure!(standing["payment"]["memo"] == "Paid using Electron Cash" && standing["via"] == "bip70");

    // Of 400 it shows the text, and broadcasts nothing; of anything else only what the code is called.
    let rival = shop.sign(&invoice)?;
    let late = Payment { transactions: vec![rival.raw.clone()], ..Payment::default() }.encode_to_vec();
    let refused = shop.post_bytes(url, &headers, &late).await?;
    ensure!(refused.expect(400)? == "Invoice no longer accepting payments: it is already paid");
    ensure!(refused.has("content-type")? == "text/plain; charset=utf-8", "{refused:?}");
    Ok(())
});

on_every_node!(electron_cash_jpp_v1, async |mut shop: Shop| {
    let invoice = shop.invoice(&[11_000, 12_000]).await?;
    let partner = [("BP_PARTNER", "ELECTRONCASH"), ("BP_PARTNER_VERSION", "4.4.5")];
    let accept = [("accept", "application/payment-request")];
    let headers = [&[AGENT, ENCODING][..], &accept, &[ALIVE], &partner].concat();
    let answer = shop.get(&invoice.url, &headers).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    head(&request, &invoice)?;
    outputs(&request, &invoice)?;
    time(&request, "time")?;
    time(&request, "expires")?;

    // What it verifies has scripts: placeholders while it estimates, real ones when it is done. Both are verified, and
    // neither is broadcast.
    let signed = shop.sign(&invoice)?;
    let url = text(&request, "paymentUrl")?;
    let post = |content_type| {
        let headers = [("Accept", "*/*"), ALIVE, ("Content-Type", content_type), ("Content-Length", "")];
        [&[AGENT, ENCODING][..], &headers[..2], &partner, &headers[2..]].concat()
    };
    for tx in [signed.with_placeholders(), signed.hex.clone()] {
        ensure!(tx.len() == signed.hex.len(), "the scripts are not empty");
        let body = json!({"currency": "BCH", "unsignedTransaction": tx, "weightedSize": tx.len() / 2});
        let answer = shop.post(url, &post("application/verify-payment"), &body).await?;
        check_signature(&answer)?;
        let verified = answer.ok()?;
        ensure!(text(&verified, "memo")?.contains("valid"), "{verified}");
        shop.is_untouched(&invoice).await?;
    }

    let body = json!({"currency": "BCH", "transactions": [signed.hex]});
    let answer = shop.post(url, &post("application/payment"), &body).await?;
    check_signature(&answer)?;
    let paid = answer.ok()?;
    ensure!(!text(&paid, "memo")?.is_empty() && paid["payment"]["transactions"] == json!([signed.hex]));
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});
