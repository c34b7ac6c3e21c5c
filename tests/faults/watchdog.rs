//! The word to systemd that the program lives: it stops when the engine's thread hangs, and goes on over a disk that
//! hangs and beside a node that is away. A thread is stopped and ended from outside, by ptrace.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use parking_lot::Mutex;
use regtest::{Daemon, Node, Shop, node::skipped, shop::on_fresh_nodes};
use tempfile::TempDir;

use super::program;

/// Longer than the watchdog waits for a step of the engine's thread.
const LONGER_THAN_PATIENCE: Duration = Duration::from_secs(20);

/// Longer than a write may take before it is told as slow, and than the watchdog waits for a step.
const FROZEN: Duration = Duration::from_secs(14);

/// The socket that systemd would listen at, read all the time: a sender waits while ten messages are unread.
struct Systemd {
    path: PathBuf,
    messages: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
}

impl Systemd {
    fn listen() -> Result<Self> {
        let folder = TempDir::with_prefix("systemd-")?;
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::downgrade(&messages);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Some(messages) = kept.upgrade() {
                if let Ok(length) = socket.recv(&mut buffer) {
                    let text = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                    messages.lock().push(text);
                }
            }
        });
        Ok(Self { path, messages, _folder: folder })
    }

    fn address(&self) -> Result<&str> {
        self.path.to_str().context("a path in UTF-8")
    }

    /// How many messages with this line came since the last call.
    fn count(&self, line: &str) -> usize {
        let messages = std::mem::take(&mut *self.messages.lock());
        messages.iter().filter(|text| text.lines().any(|found| found.starts_with(line))).count()
    }

    /// Waits for a message with this line.
    async fn until(&self, line: &str, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if self.count(line) > 0 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("no {line} within {limit:?}")
    }

    /// Waits until no message with this line has come for four times as long as they are apart.
    async fn until_silent(&self, line: &str, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let mut last = Instant::now();
        while Instant::now() < until {
            if self.count(line) > 0 {
                last = Instant::now();
            }
            if last.elapsed() > Duration::from_secs(4) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{line} goes on for {limit:?}")
    }
}

/// The thread of a process that is held by ptrace; it goes on when this is dropped.
struct Held(Child);

impl Held {
    /// `None` where this machine cannot do it, with the reason on standard error.
    fn thread(action: &str, pid: u32, name: &str) -> Result<Option<Self>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/thread.py");
        let started = Command::new("python3")
            .arg(script)
            .args([action, &pid.to_string(), name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else { return Ok(None) };
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        Ok((!line.is_empty()).then_some(Self(child)))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // The helper process may have ended already.
        let _ = self.0.wait();
    }
}

fn can_trace(name: &str) -> bool {
    let can = cfg!(target_arch = "x86_64") && Command::new("python3").arg("--version").output().is_ok();
    if !can {
        skipped(&format!("{name}: only x86-64 with python3 can stop a thread from outside"));
    }
    can
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_the_engine_that_hangs_silences_the_watchdog() -> Result<()> {
    let name = "a_thread_of_the_engine_that_hangs_silences_the_watchdog";
    if !can_trace(name) {
        return Ok(());
    }
    on_fresh_nodes(name, async |node| {
        let systemd = Systemd::listen()?;
        let shop = Shop::open(program(), node, &[("NOTIFY_SOCKET", systemd.address()?)]).await?;
        systemd.until("WATCHDOG=1", Duration::from_secs(10)).await?;
        let pid = shop.daemon.pid().context("it runs")?;
        let Some(held) = Held::thread("hold", pid, "engine")? else {
            skipped(&format!("{name}: ptrace is not allowed here"));
            return Ok(());
        };
        systemd.until_silent("WATCHDOG=1", LONGER_THAN_PATIENCE).await?;
        let log = shop.daemon.log();
        ensure!(log.contains("the engine's loop has not moved for"), "{log}");
        // The interface answers: without a look at the engine nobody would know.
        ensure!(shop.daemon.ops().get("/healthz").await?.status == 200);
        drop(held);
        systemd.until("WATCHDOG=1", Duration::from_secs(10)).await?;
        ensure!(shop.daemon.terminate().await?.success());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_engines_thread_ends_the_program() -> Result<()> {
    let name = "the_end_of_the_engines_thread_ends_the_program";
    if !can_trace(name) {
        return Ok(());
    }
    on_fresh_nodes(name, async |node| {
        let mut shop = Shop::open(program(), node, &[]).await?;
        let (id, _) = shop.invoice(5_000).await?;
        let pid = shop.daemon.pid().context("it runs")?;
        if Held::thread("end", pid, "engine")?.is_none() {
            skipped(&format!("{name}: ptrace is not allowed here"));
            return Ok(());
        }
        let ended = shop.daemon.wait_end().await?;
        ensure!(ended.code() == Some(70), "{ended}\n{}", shop.daemon.log());
        shop.daemon.launch()?;
        shop.daemon.wait_ready().await?;
        ensure!(shop.get(&id).await?["status"] == "pending");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_does_not_silence_the_watchdog() -> Result<()> {
    let name = "a_node_that_is_away_does_not_silence_the_watchdog";
    on_fresh_nodes(name, async |node| {
        let systemd = Systemd::listen()?;
        let shop = Shop::open(program(), node, &[("NOTIFY_SOCKET", systemd.address()?)]).await?;
        shop.node.stop()?;
        shop.until_not_ready("node_unreachable").await?;
        systemd.count("");
        tokio::time::sleep(LONGER_THAN_PATIENCE).await;
        let fed = systemd.count("WATCHDOG=1");
        ensure!(fed >= 15, "fed {fed} times in {LONGER_THAN_PATIENCE:?}\n{}", shop.daemon.log());
        Ok(())
    })
    .await
}

/// A file system of its own that can be frozen.
struct IceBox {
    mount: TempDir,
    _image: TempDir,
}

impl IceBox {
    /// Only root can make one, where there are loop devices.
    fn mount() -> Result<Option<Self>> {
        let image = TempDir::with_prefix("image-")?;
        let file = image.path().join("disk");
        std::fs::File::create(&file)?.set_len(256 << 20)?;
        let mount = TempDir::with_prefix("disk-")?;
        let did = |program: &str, words: &[&Path]| {
            let done = Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status();
            done.is_ok_and(|status| status.success())
        };
        let made = did("mkfs.ext4", &[Path::new("-q"), &file])
            && did("mount", &[Path::new("-o"), Path::new("loop"), &file, mount.path()]);
        Ok(made.then_some(Self { mount, _image: image }))
    }

    fn path(&self) -> &Path {
        self.mount.path()
    }

    /// Writes wait from now on.
    fn freeze(&self) -> Result<()> {
        self.fsfreeze("-f")
    }

    fn thaw(&self) -> Result<()> {
        self.fsfreeze("-u")
    }

    fn fsfreeze(&self, how: &str) -> Result<()> {
        let done = Command::new("fsfreeze").arg(how).arg(self.path()).status()?;
        ensure!(done.success(), "fsfreeze {how}: {done}");
        Ok(())
    }
}

impl Drop for IceBox {
    fn drop(&mut self) {
        // The file system may be thawed already, and the program may still have files open on it.
        let _ = Command::new("fsfreeze").arg("-u").arg(self.path()).stderr(Stdio::null()).status();
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_told_and_does_not_silence_the_watchdog() -> Result<()> {
    let name = "a_disk_that_hangs_is_told_and_does_not_silence_the_watchdog";
    on_fresh_nodes(name, async |node| {
        let Some(disk) = IceBox::mount()? else {
            skipped(&format!("{name}: only root with loop devices can freeze a file system"));
            return Ok(());
        };
        let (systemd, store) = (Systemd::listen()?, disk.path().join("store"));
        let settings = [
            ("NOTIFY_SOCKET", systemd.address()?),
            ("JPPD_STORE__PATH", store.to_str().context("a path in UTF-8")?),
        ];
        let mut shop = Shop::open(program(), node, &settings).await?;
        let (id, _) = shop.invoice(5_000).await?;
        let pid = shop.daemon.pid();
        disk.freeze()?;
        systemd.count("");
        let frozen = Instant::now();
        let seen = on_ice(&mut shop, &id).await;
        let fed = systemd.count("WATCHDOG=1");
        // Before anything else: a program that waits for a frozen disk does not even end.
        disk.thaw()?;
        seen?;
        let seconds = usize::try_from(frozen.elapsed().as_secs())?;
        ensure!(fed + 3 >= seconds, "fed {fed} times in {seconds} s\n{}", shop.daemon.log());
        shop.daemon.wait_ready().await?;
        ensure!(shop.daemon.pid() == pid, "it went on without a restart");
        shop.invoice(8_000).await?;
        shop.daemon.kill()?;
        Ok(())
    })
    .await
}

/// Checks the answers that a shop gets while the disk of its daemon is frozen.
async fn on_ice(shop: &mut Shop, id: &str) -> Result<()> {
    let frozen = Instant::now();
    // The first write is under way when it is told, and so is whoever waits for it.
    let first = tokio::time::timeout(Duration::from_secs(4), shop.invoice(6_000)).await;
    ensure!(!matches!(first, Ok(Ok(_))), "created on a frozen disk");
    let told = shop.until_not_ready("store_slow").await?;
    ensure!(told.body.contains("has been under way for"), "{}", told.body);
    tokio::time::sleep(FROZEN.saturating_sub(frozen.elapsed())).await;
    // The daemon now refuses a creation at once, and still reads the invoices that are stored.
    let asked = Instant::now();
    let refused = shop.invoice(7_000).await;
    ensure!(refused.is_err(), "created on a frozen disk");
    ensure!(asked.elapsed() < Duration::from_secs(2), "refused after {:?}", asked.elapsed());
    ensure!(shop.get(id).await?["status"] == "pending");
    Ok(())
}

/// An opening that takes long asks systemd for more time as long as it takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_opening_asks_systemd_for_time() -> Result<()> {
    let name = "a_long_opening_asks_systemd_for_time";
    on_fresh_nodes(name, async |node: Arc<dyn Node>| {
        let Some(disk) = IceBox::mount()? else {
            skipped(&format!("{name}: only root with loop devices can freeze a file system"));
            return Ok(());
        };
        let (systemd, store) = (Systemd::listen()?, disk.path().join("store"));
        let settings = [
            ("NOTIFY_SOCKET", systemd.address()?),
            ("JPPD_STORE__PATH", store.to_str().context("a path in UTF-8")?),
        ];
        disk.freeze()?;
        let daemon = Daemon::new(program(), &*node, &settings)?;
        daemon.launch()?;
        let asked = async {
            systemd.until("EXTEND_TIMEOUT_USEC=60000000", Duration::from_secs(10)).await?;
            systemd.until("EXTEND_TIMEOUT_USEC=60000000", Duration::from_secs(15)).await
        };
        let asked = asked.await;
        let ready = systemd.count("READY=1");
        disk.thaw()?;
        asked?;
        ensure!(ready == 0, "ready on a frozen disk");
        systemd.until("READY=1", Duration::from_secs(20)).await?;
        daemon.kill()?;
        Ok(())
    })
    .await
}
