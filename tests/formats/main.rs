//! Stores of every version that wrote one, opened by this one.
//!
//! `tests/stores` keeps a store for each format that was ever released; its `README.md` tells what is in it, and how
//! one is added. Each is copied, opened by the program, and read by the API as a merchant reads it: every field that
//! was there reads the same. Then the node gets the chain that the store knows, and everything goes on: what was paid
//! is confirmed, what was open is paid.
//!
//! That a newer layout and another network are refused is tried where the store is (`src/store/tests/opening.rs`).

mod writer;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use jppd::{
    bch::Network,
    ledger::{self, ReadError},
    store::{Store, StoreOptions},
};
use regtest::{
    Daemon, Node, Shop, eventually, fresh_nodes,
    purse::{Purse, raw_hex},
    wallet::Wallet,
};
use serde_json::{Map, Value, json};

/// Begins the links in what is read.
const PUBLIC_URL: &str = "https://pay.example";

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores")
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// The program over a copy of a store, beside a node that is away. Nothing of what is read comes from the node.
async fn over_a_copy(node: &dyn Node, store: &Path, folder: &Path) -> Result<Daemon> {
    copy(store, folder)?;
    node.stop()?;
    let settings = [("JPPD_STORE__PATH", text(folder)?), ("JPPD_HTTP__PUBLIC_URL", PUBLIC_URL)];
    let daemon = Daemon::new(Path::new(env!("CARGO_BIN_EXE_jppd")), node, &settings)?;
    daemon.launch()?;
    let is_there = async || {
        let answer = daemon.ops().get("/healthz").await;
        Ok(answer.is_ok_and(|answer| answer.status == 200).then_some(()))
    };
    eventually(|| format!("it starts\n{}", daemon.log()), is_there).await?;
    Ok(daemon)
}

/// How long the end of an event log is listened to for one event too many.
const SILENCE: Duration = Duration::from_millis(300);

/// Invoices and their events, as the API tells them. `least` is how many events of an invoice are waited for.
async fn reading(
    daemon: &Daemon,
    ids: impl Iterator<Item = &String>,
    least: impl Fn(&str) -> usize,
) -> Result<Value> {
    let mut invoices = Map::new();
    for id in ids {
        let invoice = daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)?;
        let mut socket = daemon.api().events(id, 0).await?;
        let mut events = Vec::new();
        for _ in 0..least(id) {
            events.push(socket.next().await?);
        }
        while let Ok(event) = socket.next_within(SILENCE).await {
            events.push(event);
        }
        invoices.insert(id.clone(), json!({"invoice": invoice, "events": events}));
    }
    Ok(Value::Object(invoices))
}

/// Whether what was read then reads the same now. What later versions add does not count.
fn same(then: &Value, now: &Value, place: &str) -> Result<()> {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (name, value) in then {
                let place = format!("{place}/{name}");
                same(value, now.get(name).with_context(|| format!("{place} is gone"))?, &place)?;
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            ensure!(then.len() == now.len(), "{place}: {} became {}", then.len(), now.len());
            for (number, (then, now)) in then.iter().zip(now).enumerate() {
                same(then, now, &format!("{place}/{number}"))?;
            }
        }
        _ => ensure!(then == now, "{place}: {then} became {now}"),
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_of_every_version_are_read_and_go_on() -> Result<()> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(kept())? {
        let path = entry?.path();
        if path.is_dir() {
            versions.push(path);
        }
    }
    ensure!(!versions.is_empty(), "there are no stores");
    for version in versions {
        for node in fresh_nodes("stores_of_every_version_are_read_and_go_on")? {
            let kind = node.name();
            reads_and_goes_on(node, &version)
                .await
                .with_context(|| format!("{} on {kind}", version.display()))?;
        }
    }
    Ok(())
}

/// Checks that the paid amounts in the record of each open or paid invoice equal the sums of its credits. Records of
/// older versions hold no paid amounts. Returns the number of records that hold them.
fn records_that_say_what_is_paid(store: &Path) -> Result<usize> {
    let store = Store::open_for_reading(store, StoreOptions::new(Network::Regtest))?;
    let mut said = 0;
    ledger::each_open_or_paid(&store, |record| {
        let anew = ledger::paid_anew(&store, &record.invoice)?;
        if let Some(paid) = &record.paid {
            said += 1;
            if *paid != anew {
                return Err(ReadError(format!("{} says {paid:?}, and it is {anew:?}", record.invoice.id)));
            }
        }
        Ok(())
    })?;
    Ok(said)
}

async fn reads_and_goes_on(node: std::sync::Arc<dyn Node>, version: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let daemon = over_a_copy(&*node, &version.join("store"), folder.path()).await?;
    let then: Value = serde_json::from_str(&fs::read_to_string(version.join("reading.json"))?)?;
    let ids = then.as_object().context("invoices by id")?;
    let events = |id: &str| ids[id]["events"].as_array().map_or(0, Vec::len);
    let now = reading(&daemon, ids.keys(), events).await?;
    same(&then, &now, "")?;

    // The node has the chain that the store knows, and more of it.
    node.start()?;
    for block in fs::read_to_string(version.join("blocks.hex"))?.lines() {
        let reason = node.call("submitblock", json!([block]))?;
        ensure!(reason.is_null(), "the node does not take a block of then: {reason}");
    }
    let payer = Purse::fund(&*node, 9)?;
    daemon.wait_ready().await?;
    let daemon = std::sync::Arc::new(daemon);
    let mut shop = Shop { node, payer, payee: Wallet::from_seed(10)?, daemon };

    for (id, then) in ids {
        let then = &then["invoice"];
        if then["status"] == "pending" && then["payments"] == json!([]) {
            let mut asked = Vec::new();
            for output in then["outputs"].as_array().context("outputs")? {
                asked.push((
                    output["address"].as_str().context("an address")?,
                    output["amount"].as_u64().context("an amount")?,
                ));
            }
            let transaction = shop.payer.sign_all(&asked)?;
            shop.pay(id, &raw_hex(&transaction)).await?.expect(200)?;
        }
    }
    let (new, address) = shop.invoice(5_000).await?;
    shop.payer.pay(&*shop.node, &address, 5_000)?;
    shop.until(&new, "paid").await?;
    // What the store knew to be paid, and the node did not have any more, was sent to it again.
    for (id, then) in ids {
        let status = &then["invoice"]["status"];
        if status == "paid" || status == "pending" {
            mined_until_confirmed(&mut shop, id).await?;
        }
    }
    mined_until_confirmed(&mut shop, &new).await?;
    let said = records_that_say_what_is_paid(folder.path())?;
    ensure!(said >= 2, "{said} records say what was paid: the new one does, and those that were confirmed");
    Ok(())
}

async fn mined_until_confirmed(shop: &mut Shop, id: &str) -> Result<()> {
    for _ in 0..40 {
        if shop.get(id).await?["status"] == "confirmed" {
            return Ok(());
        }
        shop.payer.mine(&*shop.node, 1)?;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    shop.until(id, "confirmed").await.map(drop)
}
