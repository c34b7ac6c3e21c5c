//! What wallets read out of JSON, with their types: a field that is absent or of another type is what they break on.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::shop::Invoice;

/// A text.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("{key} is a text: {value}"))
}

/// A number, which JavaScript would call one.
pub(crate) fn number(value: &Value, key: &str) -> Result<f64> {
    value[key].as_f64().with_context(|| format!("{key} is a number: {value}"))
}

/// An amount: an integer without an exponent or a fraction.
pub(crate) fn amount(value: &Value, key: &str) -> Result<u64> {
    value[key].as_u64().with_context(|| format!("{key} is an amount: {value}"))
}

/// The only element of an array.
pub(crate) fn only<'a>(value: &'a Value, key: &str) -> Result<&'a Value> {
    let all = value[key].as_array().with_context(|| format!("{key} is an array: {value}"))?;
    ensure!(all.len() == 1, "exactly one of {key}: {value}");
    all.first().context("one")
}

/// A time as the strictest parser wants it: `yyyy-MM-dd'T'HH:mm:ss.SSS'Z'`.
pub(crate) fn time<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let time = text(value, key)?;
    let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ensure!(form == "0000-00-00T00:00:00.000Z", "{time}");
    Ok(time)
}

/// The head that all documents share: times, a memo that is a text and not empty, where to pay, and the id.
pub(crate) fn head(document: &Value, invoice: &Invoice) -> Result<()> {
    ensure!(time(document, "time")? < time(document, "expires")?, "{document}");
    ensure!(text(document, "memo")? == "K\u{e4}se \u{2013} two", "{document}");
    ensure!(text(document, "paymentUrl")? == invoice.url, "{document}");
    ensure!(text(document, "paymentId")? == invoice.id, "{document}");
    Ok(())
}

/// The outputs, as many and as much as was asked, at addresses with their prefix.
pub(crate) fn outputs(value: &Value, invoice: &Invoice) -> Result<()> {
    let outputs = value["outputs"].as_array().with_context(|| format!("outputs: {value}"))?;
    ensure!(outputs.len() == invoice.outputs.len(), "{value}");
    for (output, (address, satoshis)) in outputs.iter().zip(&invoice.outputs) {
        ensure!(text(output, "address")? == address && address.starts_with("bchreg:"), "{output}");
        ensure!(amount(output, "amount")? == *satoshis, "{output}");
    }
    Ok(())
}

/// The only option of JPP v2, with all eight keys and their types.
pub(crate) fn option<'a>(document: &'a Value, invoice: &Invoice) -> Result<&'a Value> {
    head(document, invoice)?;
    let option = only(document, "paymentOptions")?;
    ensure!(text(option, "chain")? == "BCH" && text(option, "currency")? == "BCH", "{option}");
    ensure!(text(option, "network")? == "regtest", "{option}");
    let total: u64 = invoice.outputs.iter().map(|(_, satoshis)| satoshis).sum();
    ensure!(amount(option, "estimatedAmount")? == total, "some wallets pay this number: {option}");
    ensure!(number(option, "requiredFeeRate")? <= 1.0, "the rate that every wallet pays: {option}");
    ensure!(number(option, "minerFee")? == 0.0 && number(option, "decimals")? == 8.0, "{option}");
    ensure!(option["selected"] == true, "{option}");
    Ok(option)
}

/// The only instruction of JPP v2.
pub(crate) fn instruction<'a>(document: &'a Value, invoice: &Invoice) -> Result<&'a Value> {
    head(document, invoice)?;
    ensure!(text(document, "chain")? == "BCH" && text(document, "network")? == "regtest", "{document}");
    let instruction = only(document, "instructions")?;
    ensure!(text(instruction, "type")? == "transaction", "{instruction}");
    outputs(instruction, invoice)?;
    Ok(instruction)
}

/// The echo of JPP v2: the only transaction, to the letter, and a memo that is a text and not empty.
pub(crate) fn echo(document: &Value, hex: &str) -> Result<()> {
    ensure!(text(only(&document["payment"], "transactions")?, "tx")? == hex, "{document}");
    ensure!(text(&document["payment"], "chain")? == "BCH", "{document}");
    ensure!(!text(document, "memo")?.is_empty(), "{document}");
    Ok(())
}
