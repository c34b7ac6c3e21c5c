//! Paytaca 0.26: three dialects, chosen by the host of the URL.
//!
//! The requests are those of axios in a web view: preflights, an `Origin`, header names as the code has them, and
//! `Accept: application/json, text/plain, */*` wherever the code sets none. Any 2xx is success.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    http::Header,
    json::{amount, echo, head, instruction, number, option, outputs, text, time},
    on_every_node,
    shop::{Invoice, Shop},
    signature::check_signature,
};

/// What axios accepts unless it is told otherwise.
const AXIOS: Header<'static> = ("Accept", "application/json, text/plain, */*");
const ORIGIN: Header<'static> = ("Origin", "https://localhost");
const AGENT: Header<'static> =
    ("User-Agent", "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile");

/// What a web view asks before it lets a page send such headers.
async fn preflight(shop: &Shop, url: &str, method: &str, headers: &str) -> Result<()> {
    let asked = [
        ("Accept", "*/*"),
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", headers),
        ORIGIN,
    ];
    let answer = shop.send("OPTIONS", url, &asked, crate::http::Body::None).await?;
    ensure!(answer.status == 200 || answer.status == 204, "{answer:?}");
    let allowed = answer.has("access-control-allow-methods")?;
    ensure!(allowed.split(',').any(|allowed| allowed.trim() == method), "{answer:?}");
    let allowed = answer.has("access-control-allow-headers")?.to_ascii_lowercase();
    for header in headers.split(',') {
        ensure!(allowed.split(',').any(|allowed| allowed.trim() == header), "{header}: {answer:?}");
    }
    Ok(())
}

/// What it refuses to prepare a transaction without. Amounts and times are calculated with.
fn is_payable(document: &Value, invoice: &Invoice) -> Result<()> {
    outputs(document, invoice)?;
    for output in document["outputs"].as_array().context("outputs")? {
        ensure!(amount(output, "amount")? > 0 && output.get("token").is_none(), "{output}");
    }
    Ok(())
}

on_every_node!(paytaca_v1, async |mut shop: Shop| {
    let invoice = shop.invoice(&[6_000, 7_000]).await?;
    let url = &invoice.url;
    preflight(&shop, url, "GET", "accept").await?;
    let accept = [("Accept", "application/payment-request"), AGENT, ORIGIN];
    let answer = shop.get(url, &accept).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    head(&request, &invoice)?;
    is_payable(&request, &invoice)?;
    ensure!(number(&request, "requiredFeePerByte")? == 1.0, "else it pays 1.1: {request}");

    let signed = shop.sign(&invoice)?;
    let (payment_url, currency) = (text(&request, "paymentUrl")?, text(&request, "currency")?);
    preflight(&shop, payment_url, "POST", "content-type").await?;
    // The size is that of the unsigned transaction: a hint, and a wrong one.
    let unsigned = signed.unsigned();
    let size = unsigned.len() / 2;
    let body = json!({"currency": currency, "unsignedTransaction": unsigned, "weightedSize": size});
    let headers = [AXIOS, AGENT, ("Content-Type", "application/verify-payment"), ORIGIN];
    let answer = shop.post(payment_url, &headers, &body).await?;
    check_signature(&answer)?;
    ensure!(answer.ok()?.get("error").is_none());
    shop.is_untouched(&invoice).await?;

    let body = json!({"currency": currency, "transactions": [signed.hex]});
    let headers = [AXIOS, AGENT, ("Content-Type", "application/payment"), ORIGIN];
    let answer = shop.post(payment_url, &headers, &body).await?;
    check_signature(&answer)?;
    ensure!(!text(&answer.ok()?, "memo")?.is_empty());
    shop.is_paid_with(&invoice, &signed).await?;

    // It fetches as text and wants to read why; it pays and looks for `message`.
    let refused = shop.get(url, &accept).await?;
    ensure!(refused.expect(400)? == "Invoice no longer accepting payments: it is already paid");
    let rival = shop.sign(&invoice)?;
    let body = json!({"currency": currency, "transactions": [rival.hex]});
    let refused = shop.post(payment_url, &headers, &body).await?;
    let refused: Value = serde_json::from_str(&refused.expect(400)?)?;
    ensure!(text(&refused, "message")?.contains("already paid"), "{refused}");
    Ok(())
});

on_every_node!(paytaca_v2_with_the_whole_option_as_body, async |mut shop: Shop| {
    let invoice = shop.invoice(&[6_000, 7_000]).await?;
    let url = &invoice.url;
    let version = ("X-Paypro-Version", "2");
    preflight(&shop, url, "GET", "accept,x-paypro-version").await?;
    let answer = shop.get(url, &[("Accept", "application/payment-options"), version, AGENT, ORIGIN]).await?;
    check_signature(&answer)?;
    let options = answer.ok()?;
    let option = option(&options, &invoice)?;

    // The option goes back as it came, all of it; `Accept` is deleted on the way.
    preflight(&shop, url, "POST", "content-type,x-paypro-version").await?;
    let headers = [AGENT, ("Content-Type", "application/payment-request"), version, ORIGIN];
    let answer = shop.post(url, &headers, option).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    let instruction = instruction(&request, &invoice)?;
    is_payable(instruction, &invoice)?;
    ensure!(number(instruction, "requiredFeeRate")? == 1.0, "else it pays 1.1: {instruction}");

    let signed = shop.sign(&invoice)?;
    let payment_url = text(&request, "paymentUrl")?;
    let unsigned = signed.unsigned();
    let body = |tx: &str| json!({"chain": "BCH", "transactions": [{"tx": tx, "weightedSize": tx.len() / 2}], "currency": "BCH"});
    let headers = [AXIOS, AGENT, ("Content-Type", "application/payment-verification"), version, ORIGIN];
    let answer = shop.post(payment_url, &headers, &body(&unsigned)).await?;
    check_signature(&answer)?;
    echo(&answer.ok()?, &unsigned)?;
    shop.is_untouched(&invoice).await?;

    let headers = [AXIOS, AGENT, ("Content-Type", "application/payment"), version, ORIGIN];
    let answer = shop.post(payment_url, &headers, &body(&signed.hex)).await?;
    check_signature(&answer)?;
    echo(&answer.ok()?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(paytaca_rest, async |mut shop: Shop| {
    let invoice = shop.invoice(&[6_000, 7_000]).await?;
    let json = [("Accept", "application/json"), AGENT, ORIGIN];
    let document = shop.get(&invoice.url, &json).await?.ok()?;
    time(&document, "expires")?;
    is_payable(&document, &invoice)?;
    ensure!(number(&document, "required_fee_per_byte")? == 1.0, "else it pays 1.1: {document}");
    ensure!(document["payment"].is_null(), "not paid yet: {document}");

    // A slash is put behind the URL unless there is one, and then the step.
    let step = |step: &str| Ok::<_, anyhow::Error>(format!("{}/{step}/", text(&document, "payment_url")?));
    let signed = shop.sign(&invoice)?;
    let headers = [AXIOS, AGENT, ("Content-Type", "application/json"), ORIGIN];
    preflight(&shop, &step("verify")?, "POST", "content-type").await?;
    let body = json!({"raw_tx_hex": signed.unsigned()});
    ensure!(shop.post(&step("verify")?, &headers, &body).await?.ok()? == json!({"valid": true}));
    shop.is_untouched(&invoice).await?;
    // What is wrong stands under `error` there.
    let other = shop.invoice(&[9_000]).await?;
    let body = json!({"raw_tx_hex": shop.sign(&other)?.unsigned()});
    let refused = shop.post(&step("verify")?, &headers, &body).await?;
    let refused: Value = serde_json::from_str(&refused.expect(400)?)?;
    ensure!(text(&refused, "error")?.contains("does not have any output"), "{refused}");

    let body = json!({"raw_tx_hex": signed.hex});
    let paid = shop.post(&step("pay")?, &headers, &body).await?.ok()?;
    ensure!(paid["payment"]["txid"] == signed.transaction.compute_txid().to_string(), "{paid}");
    shop.is_paid_with(&invoice, &signed).await?;
    // Scanned again, it shows that it is paid.
    let again = shop.get(&invoice.url, &json).await?.ok()?;
    ensure!(again["payment"]["txid"] == paid["payment"]["txid"], "{again}");
    let rival = shop.sign(&invoice)?;
    let refused = shop.post(&step("pay")?, &headers, &json!({"raw_tx_hex": rival.hex})).await?;
    let refused: Value = serde_json::from_str(&refused.expect(400)?)?;
    ensure!(refused["non_field_errors"][0].as_str().is_some_and(|text| text.contains("paid")), "{refused}");
    Ok(())
});
