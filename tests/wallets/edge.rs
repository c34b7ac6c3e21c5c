//! Edge: JPP v2 with validators that refuse a document for one missing key, at the URL that was scanned.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::{
    http::Header,
    json::{amount, echo, instruction, number, option, text},
    on_every_node,
    shop::Shop,
    signature::check_signature,
};

const VERSION: Header<'static> = ("x-paypro-version", "2");
const OKHTTP: [Header<'static>; 3] =
    [("Connection", "Keep-Alive"), ("Accept-Encoding", "gzip"), ("User-Agent", "okhttp/4.9.2")];

/// React Native puts a charset behind the type of every text. Nothing but 200 is success.
async fn post(shop: &Shop, url: &str, content_type: &str, body: &Value) -> Result<Value> {
    let headers = [&[("content-type", content_type), VERSION], &OKHTTP[..]].concat();
    let answer = shop.post(url, &headers, body).await?;
    check_signature(&answer)?;
    answer.ok()
}

on_every_node!(edge, async |mut shop: Shop| {
    let invoice = shop.invoice(&[8_000, 9_000]).await?;
    let url = &invoice.url;
    let get = [&[("accept", "application/payment-options"), VERSION], &OKHTTP[..]].concat();
    let answer = shop.get(url, &get).await?;
    check_signature(&answer)?;
    let options = answer.ok()?;
    for key in ["time", "expires", "memo", "paymentUrl", "paymentId"] {
        text(&options, key)?;
    }
    let option = option(&options, &invoice)?;
    for key in ["chain", "currency", "network"] {
        text(option, key)?;
    }
    for key in ["estimatedAmount", "requiredFeeRate", "minerFee", "decimals"] {
        number(option, key)?;
    }
    ensure!(option["selected"].is_boolean(), "{option}");

    let selection = json!({"chain": "BCH", "currency": "BCH"});
    let request = post(&shop, url, "application/payment-request; charset=utf-8", &selection).await?;
    let instruction = instruction(&request, &invoice)?;
    ensure!(number(instruction, "requiredFeeRate")? == 1.0, "{instruction}");
    for output in instruction["outputs"].as_array().into_iter().flatten() {
        ensure!(amount(output, "amount")? > 0 && !text(output, "address")?.is_empty(), "{output}");
    }

    let signed = shop.sign(&invoice)?;
    let (unsigned, size) = (signed.unsigned(), signed.size());
    let body = |tx: &str| json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": tx, "weightedSize": size}]});
    for (content_type, tx) in [
        ("application/payment-verification; charset=utf-8", &unsigned),
        ("application/payment; charset=utf-8", &signed.hex),
    ] {
        echo(&post(&shop, url, content_type, &body(tx)).await?, tx)?;
        if *tx == unsigned {
            shop.is_untouched(&invoice).await?;
        }
    }
    // It broadcasts after that.
    shop.is_paid_with(&invoice, &signed).await?;

    // An error is shown with its body, unless that is a page.
    let refused = shop.get(url, &get).await?.expect(400)?;
    ensure!(refused.contains("already paid") && !refused.contains("doctype html"), "{refused}");
    Ok(())
});
