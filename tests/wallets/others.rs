//! Wallets that speak JPP in their own way, most of them for other coins as well.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    http::Header,
    json::{echo, head, instruction, number, option, outputs, text, time},
    on_every_node,
    shop::Shop,
    signature::check_signature,
};

async fn ok(shop: &Shop, url: &str, headers: &[Header<'_>], body: &Value) -> Result<Value> {
    let answer = shop.post(url, headers, body).await?;
    check_signature(&answer)?;
    answer.ok()
}

on_every_node!(anypay, async |mut shop: Shop| {
    let invoice = shop.invoice(&[41_000, 42_000]).await?;
    let end = [("User-Agent", "axios/0.21.1"), ("Host", ""), ("Connection", "close")];
    let get = [&[("accept", "application/payment-options"), ("x-paypro-version", "2")], &end[..]].concat();
    let answer = shop.get(&invoice.url, &get).await?;
    check_signature(&answer)?;
    option(&answer.ok()?, &invoice)?;
    let post = |content_type| {
        let own = [
            ("Accept", "application/json, text/plain, */*"),
            ("content-type", content_type),
            ("x-paypro-version", "2"),
            ("Content-Length", ""),
        ];
        [&own[..], &end].concat()
    };
    let selection = json!({"chain": "BCH", "currency": "BCH"});
    let request = ok(&shop, &invoice.url, &post("application/payment-request"), &selection).await?;
    instruction(&request, &invoice)?;
    let signed = shop.sign(&invoice)?;
    let body = json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": signed.hex}]});
    for step in ["application/payment-verification", "application/payment"] {
        echo(&ok(&shop, &invoice.url, &post(step), &body).await?, &signed.hex)?;
    }
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(anypay_without_a_version, async |mut shop: Shop| {
    // The original's proxy for this wallet sends what v2 sends, and does not say that it is v2.
    let invoice = shop.invoice(&[41_000]).await?;
    let signed = shop.sign(&invoice)?;
    let transactions = json!([{"tx": signed.hex, "weightedSize": signed.size()}]);
    let body = json!({"chain": "BCH", "currency": "BCH", "transactions": transactions});
    let headers = [
        ("User-Agent", "python-requests/2.28.1"),
        ("Accept", "*/*"),
        ("Content-Type", "application/payment"),
    ];
    echo(&ok(&shop, &invoice.url, &headers, &body).await?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(wally, async |mut shop: Shop| {
    let invoice = shop.invoice(&[41_000, 42_000]).await?;
    // Its GET names the type of a body that it has not, and of another protocol.
    let get = [
        ("Content-Type", "application/bitcoin-paymentrequest"),
        ("Accept", "application/payment-options"),
        ("x-paypro-version", "2"),
        ("User-Agent", "Dalvik/2.1.0 (Linux; U; Android 13)"),
    ];
    let answer = shop.get(&invoice.url, &get).await?;
    check_signature(&answer)?;
    option(&answer.ok()?, &invoice)?;
    let post = |content_type| [("Content-Type", content_type), ("x-paypro-version", "2"), ("Accept", "*/*")];
    let url = &invoice.url;
    let request = ok(&shop, url, &post("application/payment-request"), &json!({"chain": "BCH"})).await?;
    ensure!(number(instruction(&request, &invoice)?, "requiredFeePerByte")? == 1.0, "{request}");

    let signed = shop.sign(&invoice)?;
    let unsigned = signed.unsigned();
    // No currency; and a size only where it is no use.
    let body = json!({"chain": "BCH", "transactions": [{"tx": unsigned, "weightedSize": signed.size()}]});
    echo(&ok(&shop, url, &post("application/payment-verification"), &body).await?, &unsigned)?;
    shop.is_untouched(&invoice).await?;
    let body = json!({"chain": "BCH", "transactions": [{"tx": signed.hex}]});
    echo(&ok(&shop, url, &post("application/payment"), &body).await?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;

    // Of an answer that is none it shows a field of JSON, if it asked for JSON.
    let asking = [&post("application/payment")[..2], &[("Accept", "application/json")]].concat();
    let rival = shop.sign(&invoice)?;
    let body = json!({"chain": "BCH", "transactions": [{"tx": rival.hex}]});
    let refused: Value = serde_json::from_str(&shop.post(url, &asking, &body).await?.expect(400)?)?;
    for key in ["msg", "error", "message"] {
        ensure!(text(&refused, key)?.starts_with("Invoice no longer accepting payments"), "{refused}");
    }
    Ok(())
});

on_every_node!(brd, async |mut shop: Shop| {
    let invoice = shop.invoice(&[41_000, 42_000]).await?;
    let agent = ("User-Agent", "breadwallet/4.5.0 Android/11");
    let get = [("Accept", "application/payment-request"), agent, ("Accept-Encoding", "gzip")];
    let answer = shop.get(&invoice.url, &get).await?;
    check_signature(&answer)?;
    let request = answer.ok()?;
    head(&request, &invoice)?;
    outputs(&request, &invoice)?;
    // Its parser of times knows one form.
    time(&request, "time")?;
    time(&request, "expires")?;
    ensure!(number(&request, "requiredFeeRate")? > 0.0, "{request}");
    let signed = shop.sign(&invoice)?;
    let post = |content_type| [("Content-Type", content_type), ("Accept", "application/payment-ack"), agent];
    let body =
        json!({"currency": "BCH", "unsignedTransaction": signed.unsigned(), "weightedSize": signed.size()});
    ok(&shop, &invoice.url, &post("application/verify-payment"), &body).await?;
    shop.is_untouched(&invoice).await?;
    let body = json!({"currency": "BCH", "transactions": [signed.hex]});
    let paid = ok(&shop, &invoice.url, &post("application/payment"), &body).await?;
    ensure!(paid["payment"]["transactions"] == json!([signed.hex]), "{paid}");
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(blockchain_com, async |mut shop: Shop| {
    // What it accepts is the type of a document that it never asks for.
    let invoice = shop.invoice(&[41_000]).await?;
    let post = |content_type| {
        [
            ("x-paypro-version", "2"),
            ("Accept", "application/payment-options"),
            ("Content-Type", content_type),
            ("User-Agent", "Blockchain-Android/8.0"),
        ]
    };
    let url = &invoice.url;
    let request = ok(&shop, url, &post("application/payment-request"), &json!({"chain": "BCH"})).await?;
    instruction(&request, &invoice)?;
    let signed = shop.sign(&invoice)?;
    let body = |tx: &str| json!({"chain": "BCH", "transactions": [{"tx": tx, "weightedSize": tx.len() / 2}]});
    let unsigned = signed.unsigned();
    echo(&ok(&shop, url, &post("application/payment-verification"), &body(&unsigned)).await?, &unsigned)?;
    shop.is_untouched(&invoice).await?;
    echo(&ok(&shop, url, &post("application/payment"), &body(&signed.hex)).await?, &signed.hex)?;
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});

on_every_node!(cake_wallet, async |mut shop: Shop| {
    let invoice = shop.invoice(&[41_000]).await?;
    let post = |content_type| {
        [
            ("user-agent", "Dart/3.5 (dart:io)"),
            ("content-type", content_type),
            ("accept-encoding", "gzip"),
            ("x-paypro-version", "2"),
            ("accept", "*/*"),
            ("x-wallet", "cake"),
            ("x-wallet-token", "none"),
            ("content-length", ""),
            ("host", ""),
        ]
    };
    let selection = json!({"chain": "BCH", "currency": "BCH"});
    let request = ok(&shop, &invoice.url, &post("application/payment-request"), &selection).await?;
    let first = &instruction(&request, &invoice)?["outputs"][0];
    ensure!(text(first, "address")? == invoice.outputs.first().context("one")?.0, "{first}");
    let signed = shop.sign(&invoice)?;
    let body = json!({"chain": "BCH", "currency": "BCH", "transactions": [{"tx": signed.hex}]});
    let paid = ok(&shop, &invoice.url, &post("application/payment"), &body).await?;
    ensure!(!text(&paid, "memo")?.is_empty(), "{paid}");
    shop.is_paid_with(&invoice, &signed).await?;
    Ok(())
});
