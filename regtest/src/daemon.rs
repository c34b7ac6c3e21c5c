//! `jppd` beside a node: the real program as a child, for tests, demo and load.
//!
//! The child listens on free loopback ports and keeps its store in a temporary folder, so that it can be killed and
//! started again over what it left. Its configuration goes through the environment: that is what is tried here, too.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::{
    Node, Port,
    client::Client,
    wait::{PATIENCE, eventually},
};

/// `jppd` beside a node.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    environment: Vec<(String, String)>,
    folder: TempDir,
    http: Port,
    ops: Port,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// Starts the program beside a node and waits until it is ready. Anybody may create invoices. `settings` are
    /// further `JPPD_SECTION__KEY` variables.
    ///
    /// # Errors
    /// When it does not become ready; its log is in the message.
    pub async fn start(program: &Path, node: &dyn Node, settings: &[(&str, &str)]) -> Result<Self> {
        let daemon = Self::new(program, node, settings)?;
        daemon.launch()?;
        daemon.wait_ready().await?;
        Ok(daemon)
    }

    /// The same, with a new key that signs what wallets are answered.
    ///
    /// # Errors
    /// As [`Daemon::start`], and when the program makes no key.
    pub async fn start_signing(program: &Path, node: &dyn Node, settings: &[(&str, &str)]) -> Result<Self> {
        let mut daemon = Self::new(program, node, settings)?;
        let file = text(&daemon.folder.path().join("signing_key"))?;
        let made = Command::new(program)
            .args(["keys", "new", "--owner", "Tests", "--domain", "127.0.0.1", "--file", &file])
            .output()?;
        if !made.status.success() {
            bail!("no key was made: {}", String::from_utf8_lossy(&made.stderr));
        }
        daemon.environment.push(("JPPD_JPP__SIGNING_KEY_FILE".to_owned(), file));
        daemon.launch()?;
        daemon.wait_ready().await?;
        Ok(daemon)
    }

    /// The same, without starting it.
    ///
    /// # Errors
    /// When there is no free port or no temporary folder.
    pub fn new(program: &Path, node: &dyn Node, settings: &[(&str, &str)]) -> Result<Self> {
        let (http, ops) = (Port::reserve()?, Port::reserve()?);
        let folder = TempDir::with_prefix("jppd-")?;
        let mut environment = vec![
            ("JPPD_NODE__NETWORK".to_owned(), "regtest".to_owned()),
            ("JPPD_NODE__RPC_URL".to_owned(), node.rpc_url()),
            ("JPPD_NODE__RPC_COOKIE_FILE".to_owned(), text(&node.cookie_file())?),
            ("JPPD_NODE__ZMQ_RAWTX".to_owned(), node.zmq_rawtx()),
            ("JPPD_NODE__ZMQ_HASHBLOCK".to_owned(), node.zmq_hashblock()),
            ("JPPD_NODE__ZMQ_HASHDS".to_owned(), node.zmq_hashds()),
            ("JPPD_STORE__PATH".to_owned(), text(&folder.path().join("store"))?),
            ("JPPD_HTTP__LISTEN".to_owned(), http.address().to_string()),
            ("JPPD_OPS__LISTEN".to_owned(), ops.address().to_string()),
            ("JPPD_HTTP__OPEN_CREATION".to_owned(), "true".to_owned()),
            // A test may run on a small disk.
            ("JPPD_STORE__MIN_FREE".to_owned(), "0".to_owned()),
            ("JPPD_LIMITS__VERIFY_PER_MINUTE".to_owned(), "0".to_owned()),
            ("JPPD_LIMITS__PAY_PER_MINUTE".to_owned(), "0".to_owned()),
            ("JPPD_LIMITS__CREATE_PER_MINUTE".to_owned(), "0".to_owned()),
        ];
        for (key, value) in settings {
            environment.retain(|(known, _)| known != key);
            environment.push(((*key).to_owned(), (*value).to_owned()));
        }
        let program = program.to_owned();
        Ok(Self { program, environment, folder, http, ops, child: Mutex::new(None) })
    }

    /// Starts the program, again or for the first time, over whatever its store holds.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.log_file())?;
        let child = Command::new(&self.program)
            .arg("run")
            .env_clear()
            .envs(std::env::vars().filter(|(key, _)| !key.starts_with("JPPD_")))
            .env("RUST_LOG", "jppd=debug")
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{} could not be started", self.program.display()))?;
        *self.child.lock() = Some(child);
        Ok(())
    }

    /// Runs another command of the program with the same configuration, to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.args(words).envs(self.environment.iter().map(|(key, value)| (key, value)));
        command
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} could not be started", self.program.display()))
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// When it does not within a minute, or the program ends; its log is in the message.
    pub async fn wait_ready(&self) -> Result<()> {
        // Not by `eventually`: a task of its own waits here, too, and an asynchronous closure cannot be sent to one.
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited()? {
                bail!("jppd ended with {status}:\n{}", self.log());
            }
            let last = match self.ops().get("/readyz").await {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => answer.body,
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                bail!("jppd is not ready within {PATIENCE:?}: {last}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends it as SIGKILL does.
    ///
    /// # Errors
    /// When it does not run, or cannot be waited for.
    pub fn kill(&self) -> Result<()> {
        let mut child = self.child.lock().take().context("jppd does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Ends it in order (SIGTERM), and waits for at most a minute.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn terminate(&self) -> Result<ExitStatus> {
        self.signal("TERM")?;
        self.wait_end().await
    }

    /// Waits until it has ended, for at most a minute.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait_end(&self) -> Result<ExitStatus> {
        let missing = || format!("the end of jppd\n{}", self.log());
        let status = eventually(missing, async || Ok(self.exited()?)).await?;
        self.child.lock().take();
        Ok(status)
    }

    /// Stops it in its tracks (SIGSTOP): its sockets stay open, and nobody reads them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let pid = self.pid().context("jppd does not run")?;
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status()?;
        if !sent.success() {
            bail!("the signal could not be sent");
        }
        Ok(())
    }

    /// A client of its public address.
    pub fn api(&self) -> Client {
        Client::new(self.http.number())
    }

    /// A client of its operator's address.
    pub fn ops(&self) -> Client {
        Client::new(self.ops.number())
    }

    /// Its public address, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.http.address())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Its temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The id of its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.lock().as_ref().map(Child::id)
    }

    fn exited(&self) -> io::Result<Option<ExitStatus>> {
        match self.child.lock().as_mut() {
            Some(child) => child.try_wait(),
            None => Ok(None),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program beside the one that runs: where cargo puts both.
///
/// # Errors
/// When there is none.
pub fn beside_this_program(name: &str) -> Result<PathBuf> {
    let mut folder = std::env::current_exe()?;
    folder.pop();
    let program = folder.join(name);
    if program.is_file() { Ok(program) } else { bail!("{} is missing: build it first", program.display()) }
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("a path that is not UTF-8")
}
