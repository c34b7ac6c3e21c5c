//! Clocks that are wrong: that of the machine at a start and while running, and that of the node.
//!
//! The program's wall clock is moved by libfaketime, which reads how far from a file at every look; the clock that nobody
//! can set (`CLOCK_BOOTTIME`) it leaves alone. Where it is not installed these tests are skipped by name.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use regtest::{
    Daemon, Node, Purse, Shop,
    node::{silent_nodes, skipped},
    purse::raw_hex,
    shop::{id, on_fresh_nodes},
    wait::eventually,
    wallet::Wallet,
};
use serde_json::{Value, json};

use super::program;

/// Where Debian and its children keep the library.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
];

/// How long a payment is watched for not being missed, and an invoice for not expiring.
const A_WHILE: Duration = Duration::from_secs(2);

/// The wall clock of a daemon that is not started yet.
struct WallClock {
    folder: tempfile::TempDir,
    library: &'static str,
}

impl WallClock {
    /// One that can be moved; `None` where this machine has no libfaketime.
    fn new(test: &str) -> Result<Option<Self>> {
        let Some(library) = LIBRARIES.into_iter().find(|library| Path::new(library).exists()) else {
            skipped(&format!("{test}: no libfaketime (apt-get install libfaketime)"));
            return Ok(None);
        };
        let clock = Self { folder: tempfile::tempdir()?, library };
        clock.set("+0")?;
        Ok(Some(clock))
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("offset")
    }

    /// Sets it: `+3h`, `-14d`, `+0`. Replaced at once, so that nobody reads the half of it.
    fn set(&self, offset: &str) -> Result<()> {
        let new = self.folder.path().join("new");
        fs::write(&new, format!("{offset}\n"))?;
        Ok(fs::rename(new, self.file())?)
    }

    /// A daemon that goes by it, not started yet.
    fn daemon(&self, node: &dyn Node) -> Result<Daemon> {
        let file = self.file();
        let settings = [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().context("a path in UTF-8")?),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        Daemon::new(program(), node, &settings)
    }
}

/// Milliseconds since 1970 of a field of an invoice.
fn millis(invoice: &Value, field: &str) -> Result<i64> {
    let text = invoice[field].as_str().with_context(|| format!("no {field}: {invoice}"))?;
    Ok(chrono::DateTime::parse_from_rfc3339(text)?.timestamp_millis())
}

/// Makes an invoice that can be paid for ten minutes, and holds that it says so.
async fn invoice_for_ten_minutes(shop: &mut Shop) -> Result<(String, String)> {
    let address = shop.payee.new_address()?;
    let body = json!({"outputs": [{"address": address, "amount": 6000}], "expires_in": 600});
    let invoice = shop.create(&body).await?;
    ensure!(millis(&invoice, "expires")? - millis(&invoice, "time")? == 600_000, "{invoice}");
    Ok((id(&invoice)?, address))
}

async fn is_paid(shop: &mut Shop, (id, address): &(String, String)) -> Result<()> {
    let payment = shop.payer.sign(address, 6000)?;
    shop.pay(id, &raw_hex(&payment)).await?.expect(200)?;
    let invoice = shop.until(id, "paid").await?;
    ensure!(invoice["late"] == false, "{invoice}");
    Ok(())
}

/// Waits until `/readyz` answers with `status` and its body contains `names`, or lacks it if `wanted` is false.
async fn until_readyz(shop: &Shop, names: &str, wanted: bool, status: u16) -> Result<()> {
    let missing = || format!("{status}, {names}: {wanted}\n{}", shop.daemon.log());
    eventually(missing, async || {
        let Ok(answer) = shop.daemon.ops().get("/readyz").await else { return Ok(None) };
        Ok((answer.status == status && answer.body.contains(names) == wanted).then_some(()))
    })
    .await
}

/// A clock that is ahead at one start, by hours or by more than a year, then set right, with a restart or without.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_at_one_start_closes_no_invoice() -> Result<()> {
    let name = "a_clock_that_is_ahead_at_one_start_closes_no_invoice";
    on_fresh_nodes(name, async |node| {
        let Some(clock) = WallClock::new(name)? else { return Ok(()) };
        let payer = Purse::fund(&*node, 1)?;
        let daemon = Arc::new(clock.daemon(&*node)?);
        let mut shop = Shop { node, payer, payee: Wallet::from_seed(2)?, daemon };
        for (offset, restarted) in [("+3h", false), ("+2h", true), ("+400d", false), ("+400d", true)] {
            shop.daemon = Arc::new(clock.daemon(&*shop.node)?);
            shop.daemon.launch()?;
            shop.daemon.wait_ready().await?;
            let old = invoice_for_ten_minutes(&mut shop).await?;
            shop.daemon.kill()?;

            clock.set(offset)?;
            shop.daemon.launch()?;
            until_readyz(&shop, "clock_doubtful", true, 200).await?;
            let wrong = invoice_for_ten_minutes(&mut shop).await?;
            tokio::time::sleep(A_WHILE).await;
            clock.set("+0")?;
            if restarted {
                shop.daemon.kill()?;
                shop.daemon.launch()?;
                shop.daemon.wait_ready().await?;
            } else {
                until_readyz(&shop, "clock_doubtful", false, 200).await?;
            }
            let new = invoice_for_ten_minutes(&mut shop).await?;
            tokio::time::sleep(A_WHILE).await;
            for invoice in [&old, &wrong, &new] {
                let told = shop.get(&invoice.0).await?;
                ensure!(told["status"] == "pending", "{offset} {restarted}: {told}");
                is_paid(&mut shop, invoice).await.with_context(|| format!("{offset} {restarted}"))?;
            }
            shop.daemon.kill()?;
        }
        Ok(())
    })
    .await
}

/// Behind what the store knows at a start, and set back while running.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_behind_closes_no_invoice() -> Result<()> {
    let name = "a_clock_that_is_behind_closes_no_invoice";
    on_fresh_nodes(name, async |node| {
        let Some(clock) = WallClock::new(name)? else { return Ok(()) };
        let payer = Purse::fund(&*node, 1)?;
        let daemon = Arc::new(clock.daemon(&*node)?);
        let mut shop = Shop { node, payer, payee: Wallet::from_seed(2)?, daemon };
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        let first = invoice_for_ten_minutes(&mut shop).await?;
        // Two hours back while it runs.
        clock.set("-90m")?;
        let second = invoice_for_ten_minutes(&mut shop).await?;
        tokio::time::sleep(A_WHILE).await;
        shop.daemon.kill()?;
        // Two weeks at a start: the blocks prove that this is wrong.
        clock.set("-14d")?;
        shop.daemon.launch()?;
        until_readyz(&shop, "clock_wrong", true, 503).await?;
        let address = shop.payee.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": 6000}]});
        shop.daemon.api().post("/jpp/invoices/", &body).await?.expect(503)?;
        clock.set("+0")?;
        until_readyz(&shop, "clock_wrong", false, 200).await?;
        let third = invoice_for_ten_minutes(&mut shop).await?;
        tokio::time::sleep(A_WHILE).await;
        for invoice in [&first, &second, &third] {
            is_paid(&mut shop, invoice).await?;
        }
        Ok(())
    })
    .await
}

/// Sets the clock by which the node dates what enters its mempool; `None` gives it the machine's again.
fn set_mempool_clock(node: &dyn Node, off: Option<i64>) -> Result<()> {
    let now = true_time_s()?;
    let shown = off.map_or(0, |off| now.saturating_add(off));
    node.call("setmocktime", json!([shown])).map(drop).map_err(|error| anyhow::anyhow!("{error:?}"))
}

#[expect(clippy::disallowed_methods, reason = "the node is told a time near the true one")]
fn true_time_s() -> Result<i64> {
    Ok(i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?)
}

/// The clock of the node runs two seconds behind while the program is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_while_stopped_is_found_beside_a_node_that_is_behind() -> Result<()> {
    let name = "a_payment_while_stopped_is_found_beside_a_node_that_is_behind";
    on_fresh_nodes(name, async |node| {
        let mut shop = Shop::open(program(), node, &[]).await?;
        let (invoice, address) = shop.invoice(6000).await?;
        shop.daemon.kill()?;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        set_mempool_clock(&*shop.node, Some(-2))?;
        let paid = shop.payer.pay(&*shop.node, &address, 6000);
        set_mempool_clock(&*shop.node, None)?;
        paid?;
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        shop.until(&invoice, "paid").await?;
        Ok(())
    })
    .await
}

/// The clock of the node runs 60 seconds behind while the program is stopped. The program cannot tell whether the
/// payment is older than its invoice, and lists it as unassigned with that reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_may_be_older_is_left_to_the_merchant() -> Result<()> {
    let name = "a_payment_that_may_be_older_is_left_to_the_merchant";
    on_fresh_nodes(name, async |node| {
        let folder = tempfile::tempdir()?;
        let keys = folder.path().join("api_keys");
        let made = std::process::Command::new(program())
            .args(["keys", "merchant", "shop", "--file"])
            .arg(&keys)
            .output()?;
        ensure!(made.status.success(), "{made:?}");
        let printed = String::from_utf8(made.stdout)?;
        let key = printed.split_whitespace().max_by_key(|word| word.len()).context("a key")?.to_owned();
        let settings = [("JPPD_HTTP__API_KEYS_FILE", keys.to_str().context("a path in UTF-8")?)];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let merchant = || shop.daemon.api().with("Authorization", &format!("Bearer {key}"));
        let address = shop.payee.new_address()?;
        let body = json!({"outputs": [{"address": address, "amount": 6000}]});
        let invoice = id(&merchant().post("/jpp/invoices/", &body).await?.expect(201)?)?;
        shop.daemon.kill()?;
        set_mempool_clock(&*shop.node, Some(-60))?;
        let paid = shop.payer.pay(&*shop.node, &address, 6000);
        set_mempool_clock(&*shop.node, None)?;
        let txid = paid?;
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        let listed = shop
            .daemon
            .api()
            .with("Authorization", &format!("Bearer {key}"))
            .get("/jpp/payments/unassigned/")
            .await?
            .expect(200)?;
        let payment = &listed["payments"][0];
        ensure!(payment["txid"] == txid.to_string() && payment["reason"] == "may_be_older", "{listed}");
        ensure!(shop.get(&invoice).await?["status"] == "pending");
        Ok(())
    })
    .await
}

/// The node says nothing by ZMQ, its clock is five seconds behind, and wallets broadcast and hand over at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_broadcasts_and_hands_over_is_taken_beside_a_node_that_is_behind() -> Result<()> {
    let name = "a_wallet_that_broadcasts_and_hands_over_is_taken_beside_a_node_that_is_behind";
    for node in silent_nodes(name)? {
        let kind = node.name();
        let mut shop = Shop::open(program(), node, &[]).await?;
        set_mempool_clock(&*shop.node, Some(-5))?;
        for number in 0..10 {
            let (invoice, address) = shop.invoice(6000).await?;
            let payment = shop.payer.sign(&address, 6000)?;
            shop.node
                .send(&bitcoincash::consensus::serialize(&payment))
                .map_err(|error| anyhow::anyhow!("{error:?}"))?;
            let answer = shop.pay(&invoice, &raw_hex(&payment)).await?;
            answer.expect(200).with_context(|| format!("number {number} on {kind}"))?;
            ensure!(shop.get(&invoice).await?["status"] == "paid", "number {number} on {kind}");
        }
        set_mempool_clock(&*shop.node, None)?;
    }
    Ok(())
}
