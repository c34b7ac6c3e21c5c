//! The disk under the store: a damaged log, little room, and no room.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use regtest::{Daemon, Shop, node::skipped, purse::raw_hex, shop::on_fresh_nodes};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    open, program,
    stream::{Chance, Stream},
};

/// How many times the log is damaged.
const DAMAGES: u64 = 10;
/// The small disk, and what it takes to have it full, in MiB.
const DISK: usize = 64;
const BALLAST: usize = 40;

/// Not what a crash does, every write is synced: what a disk does that lied about it, or that changed a bit. The daemon
/// refuses the store and leaves it as it is; a repair says what would be lost, and then what is left is what was true at some
/// moment before, and the node knows the rest.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_refused_and_a_repair_is_a_moment_of_the_past() -> Result<()> {
    let name = "a_damaged_log_is_refused_and_a_repair_is_a_moment_of_the_past";
    on_fresh_nodes(name, async |node| {
        let mut chance = Chance::new(name)?;
        let mut shop = open(node).await?;
        let mut stream = Stream::prepare(&mut shop, 100, chance.clone())?;
        stream.flow(&mut shop, 40).await?;
        stream.finish().await?;
        stream.all_paid(&shop).await?;
        shop.daemon.kill()?;
        let store = shop.daemon.folder().join("store");
        let log = newest_log(&store)?;
        let length = fs::metadata(&log)?.len();
        let (mut fewest, mut most) = (usize::MAX, 0);
        for damage in 0..DAMAGES {
            let folder = TempDir::with_prefix("damaged-")?;
            copy(&store, folder.path())?;
            let damaged = folder.path().join(log.file_name().context("a name")?);
            let mut bytes = fs::read(&damaged)?;
            let place = usize::try_from(chance.below(length))?;
            let how = match damage {
                0 => "as it was".to_owned(),
                1 => {
                    bytes.clear();
                    "emptied".to_owned()
                }
                _ if damage % 2 == 0 => {
                    bytes.truncate(place);
                    format!("cut to {place} of {length} bytes")
                }
                _ => {
                    *bytes.get_mut(place).context("a byte")? ^= 4;
                    format!("a bit flipped at {place} of {length}")
                }
            };
            fs::write(&damaged, bytes)?;
            let path = folder.path().to_str().context("a path in UTF-8")?;
            let settings = [("JPPD_STORE__PATH", path)];
            let daemon = Daemon::new(program(), &*shop.node, &settings)?;
            daemon.launch()?;
            if damage > 0 {
                repair(&daemon).await.with_context(|| format!("{how}\n{}", daemon.log()))?;
                daemon.launch()?;
            }
            daemon.wait_ready().await?;
            let known = stream
                .settled_as_far_as_known(&daemon)
                .await
                .with_context(|| format!("{how}\n{}", daemon.log()))?;
            ensure!(damage != 0 || known == stream.made().len(), "nothing was damaged");
            (fewest, most) = (fewest.min(known), most.max(known));
        }
        println!(
            "{}: {DAMAGES} damages of {length} bytes, {fewest} to {most} invoices left",
            shop.node.name()
        );
        Ok(())
    })
    .await
}

/// The daemon refuses the store; a repair tells the loss and does nothing, and then does it.
async fn repair(daemon: &Daemon) -> Result<()> {
    let ended = daemon.wait_end().await?;
    ensure!(ended.code() == Some(78), "{ended}");
    ensure!(daemon.log().contains(" inputs can be read"), "the loss is not told");
    for _ in 0..2 {
        let told = daemon.command(&["store", "repair"])?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure!(told.status.code() == Some(2) && text.contains(" inputs can be read"), "{told:?}");
    }
    let done = daemon.command(&["store", "repair", "--accept-loss"])?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success() && text.contains(" inputs can be read"), "{done:?}");
    let again = daemon.command(&["store", "repair"])?;
    ensure!(again.status.success(), "nothing is left to repair: {again:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_little_room_creates_nothing_and_takes_payments() -> Result<()> {
    let name = "a_disk_with_little_room_creates_nothing_and_takes_payments";
    on_fresh_nodes(name, async |node| {
        let folder = TempDir::with_prefix("store-")?;
        let store = ("JPPD_STORE__PATH", folder.path().to_str().context("a path in UTF-8")?);
        let mut shop = Shop::open(program(), node, &[store]).await?;
        let (id, address) = shop.invoice(8_000).await?;
        ensure!(shop.daemon.terminate().await?.success());

        let low = [store, ("JPPD_STORE__MIN_FREE", "1000000TiB")];
        shop.daemon = Arc::new(Daemon::new(program(), &*shop.node, &low)?);
        shop.daemon.launch()?;
        let until = Instant::now() + Duration::from_secs(60);
        let told = loop {
            ensure!(Instant::now() < until, "disk_low alone is never told\n{}", shop.daemon.log());
            match shop.daemon.ops().get("/readyz").await {
                Ok(told) if told.body.contains("disk_low") && !told.body.contains("starting") => break told,
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        ensure!(told.status == 503, "{told:?}");
        let refused = create(&shop, 1).await?;
        ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{refused:?}");
        ensure!(refused.body.contains("disk"), "{refused:?}");
        let meters = shop.daemon.ops().get("/metrics").await?.body;
        ensure!(meters.contains("jppd_store_free_bytes "), "{meters}");
        let paying = shop.payer.sign(&address, 8_000)?;
        shop.pay(&id, &raw_hex(&paying)).await?.expect(200)?;
        shop.payer.mine(&*shop.node, 1)?;
        shop.until(&id, "confirmed").await?;
        Ok(())
    })
    .await
}

fn newest_log(store: &Path) -> Result<PathBuf> {
    let logs = fs::read_dir(store)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let logs = logs.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.max().context("a store has a log")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// A small disk of its own, gone when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// Only root can make one.
    fn mount() -> Result<Option<Self>> {
        let folder = TempDir::with_prefix("disk-")?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={DISK}m"), "tmpfs"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        Ok(mounted.is_ok_and(|status| status.success()).then(|| Self(folder)))
    }

    /// Takes all the room there is.
    fn fill(&self) -> Result<()> {
        fs::write(self.0.path().join("ballast"), vec![0; BALLAST << 20])?;
        for size in [1 << 20, 1 << 16, 1 << 12] {
            let mut number = 0;
            while fs::write(self.0.path().join(format!("fill {size} {number}")), vec![0; size]).is_ok() {
                number += 1;
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<()> {
        for entry in fs::read_dir(self.0.path())? {
            let path = entry?.path();
            if path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Where it stays, it stays a small one.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_answered_until_there_is_room() -> Result<()> {
    let name = "a_disk_without_room_is_answered_until_there_is_room";
    on_fresh_nodes(name, async |node| {
        let Some(disk) = SmallDisk::mount()? else {
            skipped(&format!("{name}: only root can mount a small disk"));
            return Ok(());
        };
        let path = disk.0.path().join("store");
        let settings = [("JPPD_STORE__PATH", path.to_str().context("a path in UTF-8")?)];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let pid = shop.daemon.pid();
        let (by_pay, address) = shop.invoice(8_000).await?;
        let (by_node, elsewhere) = shop.invoice(9_000).await?;
        let paying = shop.payer.sign(&address, 8_000)?;
        let made = fill_up(&shop, &disk).await?;

        // Every writing request says no, and has no effect; reading goes on.
        shop.until_not_ready("store_unavailable").await?;
        let refused = shop.pay(&by_pay, &raw_hex(&paying)).await?;
        ensure!(refused.status == 503 && refused.headers.contains_key("retry-after"), "{refused:?}");
        ensure!(shop.node.mempool()?.is_empty(), "nothing is broadcast that is not on record");
        shop.payer.wallet.release(&paying);
        let straight = shop.payer.pay(&*shop.node, &elsewhere, 9_000)?;
        shop.payer.mine(&*shop.node, 1)?;
        for id in [&by_pay, &by_node] {
            let invoice = shop.get(id).await?;
            ensure!(invoice["status"] == "pending" && invoice["payments"] == json!([]), "{invoice}");
        }
        let again = create(&shop, made).await?;
        ensure!(again.status == 503, "{again:?}");

        disk.clear()?;
        shop.daemon.wait_ready().await?;
        ensure!(shop.daemon.pid() == pid, "it went on without a restart");
        let invoice = shop.until(&by_node, "confirmed").await?;
        ensure!(invoice["payments"][0]["txid"] == straight.to_string(), "{invoice}");
        let paying = shop.payer.sign(&address, 8_000)?;
        shop.pay(&by_pay, &raw_hex(&paying)).await?.expect(200)?;
        shop.payer.mine(&*shop.node, 1)?;
        shop.until(&by_pay, "confirmed").await?;
        for id in [&by_pay, &by_node] {
            let kinds = shop.events_until(id, "payment_confirmed").await?;
            ensure!(kinds.len() == 3 && kinds[1] == "payment_received", "{kinds:?}");
        }
        // The creation that failed is made now, and those that did not fail are there.
        let first: Value = create(&shop, made).await?.expect(201)?;
        let second = create(&shop, made).await?.expect(201)?;
        ensure!(first["payment_id"] == second["payment_id"], "once: {first} {second}");

        // What is on the disk is what a next start finds.
        shop.daemon.kill()?;
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        shop.until(&by_pay, "confirmed").await?;
        shop.until(&by_node, "confirmed").await?;
        Ok(())
    })
    .await
}

/// Takes the room away, and creates until one creation fails; gives its number.
async fn fill_up(shop: &Shop, disk: &SmallDisk) -> Result<u64> {
    disk.fill()?;
    for number in 0..20_000 {
        let answer = create(shop, number).await?;
        if answer.status != 201 {
            ensure!(answer.status == 503, "{answer:?}");
            println!("{}: full after {number} invoices", shop.node.name());
            return Ok(number);
        }
    }
    anyhow::bail!("the disk takes everything")
}

async fn create(shop: &Shop, number: u64) -> Result<regtest::client::Answer> {
    // Letters without a pattern, so that nothing compresses.
    let noise: String = (0..400)
        .map(|at: u64| {
            let mixed = (number * 400 + at).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59;
            char::from(b'A' + u8::try_from(mixed).unwrap_or_default() % 26)
        })
        .collect();
    let address = regtest::wallet::Wallet::from_seed(3)?.address(0)?;
    let body = json!({"outputs": [{"address": address, "amount": 1_000 + number}], "memo": noise});
    let api = shop.daemon.api().with("idempotency-key", &format!("number-{number}"));
    api.post("/jpp/invoices/", &body).await
}
