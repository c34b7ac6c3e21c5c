//! The node takes nothing below a higher fee than usual: by its configuration, or because its mempool is full.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::consensus;
use regtest::{
    Bchn, Shop, SimNode, SimOptions,
    client::Answer,
    node::skipped,
    purse::raw_hex,
    wallet::{PayOptions, Payment},
};
use serde_json::{Value, json};

use super::program;

/// How many outputs make a transaction of nearly 100,000 bytes, the largest that is relayed.
const OUTPUTS: usize = 2_900;

/// A transaction that pays an address at so many satoshis per 1000 bytes, in hex. Nothing is sent.
fn at_rate(shop: &mut Shop, address: &str, fee_per_kilobyte: u64) -> Result<String> {
    let options = PayOptions { fee_per_kilobyte, confirmed_only: true, ..PayOptions::default() };
    Ok(raw_hex(&shop.payer.wallet.pay(&[Payment::new(address, 8_000)], options)?))
}

async fn verify(shop: &Shop, id: &str, raw: &str) -> Result<Answer> {
    shop.daemon.api().post(&format!("/jpp/invoices/{id}/verify/"), &json!({"raw_tx_hex": raw})).await
}

/// One transaction pays too little for the node and another one enough: verification and payment agree on both.
async fn agree_on_a_floor(shop: &mut Shop, invoice: &Value, too_little: u64, enough: u64) -> Result<()> {
    let id = regtest::shop::id(invoice)?;
    let address = invoice["outputs"][0]["address"].as_str().context("an address")?.to_owned();
    let low = at_rate(shop, &address, too_little)?;
    let (verified, paid) = (verify(shop, &id, &low).await?, shop.pay(&id, &low).await?);
    ensure!(verified.status == 400 && paid.status == 400, "{verified:?}\n{paid:?}");
    let told = why(&verified).with_context(|| format!("about the fee: {verified:?}"))?;
    ensure!(why(&paid) == Some(told), "{verified:?}\n{paid:?}");
    ensure!(shop.get(&id).await?["status"] == "pending");
    let high = at_rate(shop, &address, enough)?;
    verify(shop, &id, &high).await?.expect(200)?;
    shop.pay(&id, &high).await?.expect(200)?;
    ensure!(shop.get(&id).await?["status"] == "paid");
    Ok(())
}

/// The part of an answer that speaks of the fee; what stands around it differs.
fn why(answer: &Answer) -> Option<&str> {
    let from = answer.body.find("Transaction fee")?;
    let text = answer.body.get(from..)?;
    text.get(..text.find("satoshis per byte")?)
}

async fn open_and_ask(shop: &mut Shop, rate: Value) -> Result<Value> {
    let address = shop.payee.new_address()?;
    let outputs = json!([{"address": address, "amount": 8_000}]);
    shop.create(&json!({"outputs": outputs, "required_fee_per_byte": rate})).await
}

/// Started with `-minrelaytxfee=0.00003`.
async fn asks_what_is_relayed(mut shop: Shop) -> Result<()> {
    // Whatever a creator asks: what pays less is refused by the node.
    for asked in [Value::Null, json!(1.0), json!(2.5)] {
        let invoice = open_and_ask(&mut shop, asked).await?;
        ensure!(invoice["required_fee_per_byte"] == 3.0, "{invoice}");
        agree_on_a_floor(&mut shop, &invoice, 2_900, 3_000).await?;
    }
    let invoice = open_and_ask(&mut shop, json!(4)).await?;
    ensure!(invoice["required_fee_per_byte"] == 4.0, "{invoice}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn never_less_is_asked_than_the_node_relays() -> Result<()> {
    let stand_in = SimNode::start(SimOptions::default())?;
    stand_in.with_chain(|chain| chain.set_relay_fee(3_000));
    let shop = Shop::open(program(), std::sync::Arc::new(stand_in), &[]).await?;
    asks_what_is_relayed(shop).await.context("on SimNode")?;
    let Some(bitcoind) = Bchn::find() else {
        skipped("never_less_is_asked_than_the_node_relays on bchn: no bitcoind (set BITCOIND)");
        return Ok(());
    };
    let node = Bchn::start_with(&bitcoind, &["-minrelaytxfee=0.00003"])?;
    let shop = Shop::open(program(), std::sync::Arc::new(node), &[]).await?;
    asks_what_is_relayed(shop).await.context("on bchn")
}

/// The mempool is full: what was enough a moment ago is not now, and a verification says so like the payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_mempool_is_weighed_by_verification_and_payment_alike() -> Result<()> {
    let stand_in = std::sync::Arc::new(SimNode::start(SimOptions::default())?);
    let mut shop = Shop::open(program(), stand_in.clone(), &[]).await?;
    let invoice = open_and_ask(&mut shop, Value::Null).await?;
    stand_in.with_chain(|chain| chain.set_full_mempool_fee(1_733));
    agree_on_a_floor(&mut shop, &invoice, 1_500, 1_800).await.context("on SimNode")?;
    let Some(bitcoind) = Bchn::find() else {
        skipped(
            "a_full_mempool_is_weighed_by_verification_and_payment_alike on bchn: no bitcoind (set BITCOIND)",
        );
        return Ok(());
    };
    let node = Bchn::start_with(&bitcoind, &["-maxmempool=1"])?;
    let mut shop = Shop::open(program(), std::sync::Arc::new(node), &[]).await?;
    let invoice = open_and_ask(&mut shop, Value::Null).await?;
    let floor = fill(&mut shop)?;
    agree_on_a_floor(&mut shop, &invoice, floor - 200, floor + 200).await.context("on bchn")
}

/// Sends large transactions until the node throws out the cheapest. Gives what it takes from then on, in satoshis per
/// 1000 bytes.
fn fill(shop: &mut Shop) -> Result<u64> {
    for transaction in shop.payer.wallet.split(60, 30_000_000, PayOptions::default())? {
        shop.node.send(&consensus::serialize(&transaction))?;
    }
    shop.payer.mine(&*shop.node, 1)?;
    for number in 0..40 {
        let payments = vec![Payment::new(regtest::purse::nobody(), 1_000); OUTPUTS];
        let options = PayOptions {
            fee_per_kilobyte: 2_000 + 10 * number,
            confirmed_only: true,
            ..PayOptions::default()
        };
        let transaction = shop.payer.wallet.pay(&payments, options)?;
        // The one that is thrown out at once is refused.
        let sent = shop.node.send(&consensus::serialize(&transaction));
        let info = shop.node.call("getmempoolinfo", json!([]))?;
        let floor = info["mempoolminfee"].as_f64().context("a fee")?;
        println!("{number}: {sent:?}, floor {floor}, {}", info["usage"]);
        if floor > 0.00001 {
            // Eight decimals are satoshis.
            return Ok(format!("{floor:.8}").trim_start_matches("0.").parse()?);
        }
    }
    anyhow::bail!("the mempool was never full")
}
