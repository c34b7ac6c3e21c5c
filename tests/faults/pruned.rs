//! A node that deleted blocks which were not walked yet: it deletes whole files, so one has to be filled first.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{
    Amount, Block, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, absolute::LockTime,
    consensus, transaction::Version,
};
use regtest::{
    Bchn, Node, Shop,
    node::skipped,
    purse::nobody,
    wallet::{PayOptions, Payment, Wallet},
};
use serde_json::json;

use super::program;

/// How many blocks with a transaction of about a megabyte fill a file of 128 MiB, and some more.
const LARGE: usize = 140;
const MEGABYTE: usize = 990_000;
/// The node deletes nothing before this height on regtest, and never the last 288 blocks.
const HEIGHT: u32 = 1100;
/// A coinbase can be spent after so many blocks.
const MATURITY: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_deleted_is_told_and_gone_on_without() -> Result<()> {
    let name = "what_a_node_deleted_is_told_and_gone_on_without";
    let Some(bitcoind) = Bchn::find() else {
        skipped(&format!("{name}: only a real node deletes its blocks (set BITCOIND)"));
        return Ok(());
    };
    let node: Arc<dyn Node> = Arc::new(Bchn::start_with(&bitcoind, &["-prune=1"])?);
    let mut shop = Shop::open(program(), node.clone(), &[]).await?;
    let coins = coins_of_nobody(&*node)?;

    // Two payments are met in the mempool, and all of one is spent on; nobody meets the third.
    let (kept, address) = shop.invoice(10_000).await?;
    let met = shop.payer.pay(&*node, &address, 10_000)?;
    shop.until(&kept, "paid").await?;
    let (spent_on, address) = shop.invoice(20_000).await?;
    let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
    let whole = shop.payer.wallet.pay(&[Payment::new(address.as_str(), 20_000)], options)?;
    node.send(&consensus::serialize(&whole))?;
    shop.until(&spent_on, "paid").await?;
    let (missed, address) = shop.invoice(30_000).await?;
    shop.daemon.terminate().await?;
    let unknown = shop.payer.wallet.pay(&[Payment::new(address.as_str(), 30_000)], options)?;
    let unknown = node.send(&consensus::serialize(&unknown))?;
    shop.payer.mine(&*node, 1)?;
    shop.payee.receive(&whole);
    for (vout, output) in (0..).zip(&whole.output) {
        let paying = output.value.to_sat() == 20_000;
        let wallet = if paying { &mut shop.payee } else { &mut shop.payer.wallet };
        node.send(&consensus::serialize(&spend(wallet, OutPoint::new(whole.compute_txid(), vout))?))?;
    }
    shop.payer.mine(&*node, 1)?;
    let last = fill_a_file(&*node, coins)?;

    shop.daemon.launch()?;
    let ready = shop.until_not_ready("history_pruned").await?;
    ensure!(ready.body.contains(&format!("to {last}")), "up to {last}: {ready:?}");
    // To ask changes nothing, and can be done beside the daemon.
    for _ in 0..2 {
        let told = shop.daemon.command(&["gap"])?;
        let found = String::from_utf8(told.stdout)?;
        ensure!(told.status.code() == Some(2), "{told:?}", told = (told.status, &found));
        let line =
            |word: &str, txid: Txid| found.lines().any(|line| line.starts_with(&format!("{word}: {txid}")));
        ensure!(found.lines().count() == 3, "{found}");
        ensure!(line("met", met) && line("unknown", unknown), "{found}");
        ensure!(line("undecided", whole.compute_txid()), "{found}");
    }
    shop.daemon.terminate().await?;
    let told = shop.daemon.command(&["gap", "--acknowledge"])?;
    ensure!(told.status.success(), "{told:?}");

    shop.daemon.launch()?;
    shop.daemon.wait_ready().await?;
    shop.until(&kept, "confirmed").await?;
    ensure!(shop.get(&missed).await?["amount_paid"] == 0);
    // The node refuses to take it again, which says nothing: the next payment comes passes later, and it stands.
    let (next, address) = shop.invoice(40_000).await?;
    shop.payer.pay(&*node, &address, 40_000)?;
    shop.until(&next, "paid").await?;
    shop.payer.mine(&*node, 1)?;
    shop.until(&next, "confirmed").await?;
    let paid = shop.get(&spent_on).await?;
    ensure!(paid["status"] == "paid" && paid["confirmations"] == 0, "{paid}");
    let kinds = shop.events_until(&spent_on, "payment_received").await?;
    ensure!(kinds == ["invoice_created", "payment_received"], "{kinds:?}");
    Ok(())
}

/// A transaction that takes all of one output.
fn spend(wallet: &mut Wallet, outpoint: OutPoint) -> Result<Transaction> {
    let template = large(outpoint, Amount::ZERO, ScriptBuf::new());
    wallet.double_spend(&template, PayOptions::default())
}

/// Coinbases that anybody can spend.
fn coins_of_nobody(node: &dyn Node) -> Result<Vec<(OutPoint, Amount)>> {
    // OP_TRUE
    let anybody = ScriptBuf::from(vec![0x51]);
    let mut coins = Vec::new();
    for _ in 0..LARGE {
        let hash = node.mine_transactions(&[], &anybody)?;
        let raw = node.call("getblock", json!([hash.to_string(), 0]))?;
        let block: Block = consensus::encode::deserialize_hex(raw.as_str().context("a block in hex")?)?;
        let coinbase = block.txdata.first().context("a coinbase")?;
        let value = coinbase.output.first().context("an output")?.value;
        coins.push((OutPoint::new(coinbase.compute_txid(), 0), value));
    }
    node.mine(MATURITY, &nobody())?;
    Ok(coins)
}

/// Mines until the node has filled a file and deleted it. Gives the last height in it.
fn fill_a_file(node: &dyn Node, coins: Vec<(OutPoint, Amount)>) -> Result<u64> {
    // OP_RETURN, OP_PUSHDATA4
    let length = u32::try_from(MEGABYTE)?.to_le_bytes();
    let script = ScriptBuf::from([&[0x6a, 0x4e][..], &length, &[0; MEGABYTE]].concat());
    for (outpoint, value) in coins {
        node.mine_transactions(&[large(outpoint, value, script.clone())], &nobody())?;
    }
    let (_, height) = node.tip()?;
    node.mine(HEIGHT.saturating_sub(height), &nobody())?;
    node.call("pruneblockchain", json!([HEIGHT - 300]))?;
    let kept = node.call("getblockchaininfo", json!([]))?["pruneheight"].as_u64().context("a height")?;
    ensure!(kept > 0, "nothing was deleted");
    Ok(kept - 1)
}

fn large(outpoint: OutPoint, value: Amount, script_pubkey: ScriptBuf) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: outpoint, sequence: Sequence::MAX, ..TxIn::default() }],
        output: vec![TxOut { value, script_pubkey, token: None }],
    }
}
