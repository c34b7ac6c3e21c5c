//! The browser: found, started, and ended whatever happens.

use std::{
    env, fs,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use fantoccini::ClientBuilder;
use futures_util::FutureExt as _;
use hyper_util::client::legacy::connect::HttpConnector;
use regtest::node::skipped;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::tab::Tab;

/// How many browsers run at a time. Each is a handful of processes.
static PLACES: Semaphore = Semaphore::const_new(2);

/// How long chromedriver has to say on which port it listens.
const START: Duration = Duration::from_secs(60);

/// What it says then, before the number.
const LISTENS: &str = "was started successfully on port ";

/// Runs the body of the test `name` with a page in a browser of its own, and looks at the browser's console afterwards.
pub(crate) async fn run(name: &str, body: impl AsyncFnOnce(&Tab) -> Result<()>) -> Result<()> {
    let (driver, browser) = match programs() {
        Ok(found) => found,
        Err(why) => {
            skipped(&format!("{name}: {why}"));
            return Ok(());
        }
    };
    let _place = PLACES.acquire().await?;
    let driver = Driver::start(&driver).await?;
    let tab = driver.open(&browser).await?;
    let done = AssertUnwindSafe(async {
        body(&tab).await?;
        tab.check_console().await
    })
    .catch_unwind()
    .await;
    let closed = tab.close().await;
    done.unwrap_or_else(|panic| resume_unwind(panic))?;
    closed
}

/// Chromedriver and Chromium, or which of them there is not.
fn programs() -> Result<(PathBuf, PathBuf), &'static str> {
    let driver = find("CHROMEDRIVER", &["chromedriver"]).ok_or("no chromedriver (set CHROMEDRIVER)")?;
    let browser = find("CHROMIUM", &["chromium", "chromium-browser", "google-chrome"])
        .ok_or("no chromium (set CHROMIUM)")?;
    Ok((driver, browser))
}

fn find(variable: &str, names: &[&str]) -> Option<PathBuf> {
    let named = env::var(variable).ok();
    let names = named.as_deref().map_or_else(|| names.to_vec(), |name| vec![name]);
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    // A path from the root stays what it is, whatever it is joined to.
    let mut files = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.find(|file| file.is_file())
}

/// Chromedriver as a child.
struct Driver {
    child: Child,
    port: u16,
    /// Everything that it and the browser write.
    folder: TempDir,
}

impl Driver {
    async fn start(program: &Path) -> Result<Self> {
        let folder = TempDir::with_prefix("jppd-browser-")?;
        let log = folder.path().join("log");
        let output = fs::File::create(&log)?;
        let child = Command::new(program)
            .arg("--port=0")
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        let mut driver = Self { child, port: 0, folder };
        let until = Instant::now() + START;
        loop {
            let said = fs::read_to_string(&log)?;
            let port = said.split_once(LISTENS).and_then(|(_, rest)| rest.split_once('.'));
            if let Some((port, _)) = port {
                driver.port = port.parse()?;
                return Ok(driver);
            }
            let ended = driver.child.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                bail!("chromedriver does not listen ({ended:?}): {said}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts the browser.
    async fn open(&self, browser: &Path) -> Result<Tab> {
        let profile = self.folder.path().join("profile");
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"binary": browser, "args": [
                "--headless=new",
                // As root, and in most containers, there is none to be had. Nothing but our own pages is opened.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                // Instead of a port: the browser ends when the other end of the pipe does.
                "--remote-debugging-pipe",
                "--no-first-run",
                "--lang=en-US",
                // It talks to nobody but us.
                "--no-proxy-server",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                format!("--user-data-dir={}", profile.display()),
            ]},
        });
        let Value::Object(capabilities) = capabilities else { bail!("capabilities are an object") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", self.port))
            .await
            .context("the browser does not start")?;
        Ok(Tab::new(client))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
