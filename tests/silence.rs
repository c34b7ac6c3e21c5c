//! Payments are found without ZMQ: every topic of the stand-in is silent, and the heartbeat finds everything.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::consensus;
use regtest::{
    Daemon, Node as _, Purse, SimNode, SimOptions, Topic,
    wallet::{PayOptions, Payment, Wallet},
};
use serde_json::{Value, json};

async fn until(daemon: &Daemon, id: &str, status: &str) -> Result<Value> {
    let mut last = Value::Null;
    for _ in 0..400 {
        last = daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)?;
        if last["status"] == status {
            return Ok(last);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("not {status}: {last}\n{}", daemon.log())
}

fn id_of(invoice: &Value) -> Result<String> {
    Ok(invoice["payment_id"].as_str().context("a payment_id")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_and_blocks_are_found_with_zmq_silent() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    let mut payer = Purse::fund(&node, 1)?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    for topic in [Topic::RawTx, Topic::HashBlock, Topic::HashDs] {
        node.faults().silence(topic, true);
    }
    let mut payee = Wallet::from_seed(2)?;
    let mut ids = Vec::new();
    for satoshis in [1_000, 2_000] {
        let address = payee.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": satoshis}]});
        let invoice = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
        // The block holds one of them alone, so that one must not spend the other's change.
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        let transaction = payer.wallet.pay(&[Payment::new(address.as_str(), satoshis)], options)?;
        if satoshis == 1_000 {
            node.send(&consensus::serialize(&transaction))?;
        } else {
            node.mine_transactions(&[transaction], &regtest::purse::nobody())?;
        }
        ids.push(id_of(&invoice)?);
    }
    ensure!(until(&daemon, &ids[0], "paid").await?["via"] == "mempool");
    ensure!(until(&daemon, &ids[1], "confirmed").await?["via"] == "block");
    payer.mine(&node, 1)?;
    until(&daemon, &ids[0], "confirmed").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_not_published_is_named() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    node.remove_notifier(Topic::RawTx);
    let daemon = Daemon::new(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[])?;
    daemon.launch()?;
    for _ in 0..200 {
        if let Ok(ready) = daemon.ops().get("/readyz").await
            && ready.body.contains("topic_not_published")
        {
            ensure!(ready.status == 503 && ready.body.contains("rawtx"), "{ready:?}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("never named:\n{}", daemon.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn node_software_that_expired_is_named() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    // With the first block alone a node believes that it has the chain still to download.
    node.mine(1, &regtest::purse::nobody())?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    node.faults().expired(true);
    for _ in 0..200 {
        let ready = daemon.ops().get("/readyz").await?;
        if ready.status == 503 && ready.body.contains("node_software_expired") {
            ensure!(ready.body.contains("node software expired"), "{ready:?}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("never named:\n{}", daemon.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_taken_up_by_a_repetition() -> Result<()> {
    let node = SimNode::start(SimOptions::default())?;
    let mut payer = Purse::fund(&node, 1)?;
    let daemon = Daemon::start(Path::new(env!("CARGO_BIN_EXE_jppd")), &node, &[]).await?;
    let address = Wallet::from_seed(2)?.new_address()?;
    let body = json!({"outputs": [{"address": address, "amount": 1_000}]});
    let invoice = daemon.api().post("/jpp/invoices/", &body).await?.expect(201)?;
    let id = id_of(&invoice)?;
    let path = format!("/jpp/invoices/{id}/pay/");
    let transaction = payer.sign(&address, 1_000)?;
    let body = json!({"raw_tx_hex": regtest::purse::raw_hex(&transaction)});

    // The node takes it and its answer is lost: the payer is told to ask again, and is paid up when it does.
    node.faults().fail_rpc("sendrawtransaction", 1, regtest::RpcFault::ApplyThenReset);
    let first = daemon.api().post(&path, &body).await?;
    ensure!(first.status == 503 || first.status == 200, "{first:?}");
    let second = daemon.api().post(&path, &body).await?.expect(200)?;
    ensure!(second["status"] == "paid", "{second}");
    let mut socket = daemon.api().socket(&format!("/ws/jpp/invoice/{id}/?since=0")).await?;
    socket.next_of("payment_received").await?;
    ensure!(socket.next_within(Duration::from_millis(500)).await.is_err(), "one event, not two");
    Ok(())
}
