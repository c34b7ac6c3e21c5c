//! A real node: `bitcoind -regtest` as a child of this process.
//!
//! Each node has a temporary data folder and five loopback ports of its own, which stay reserved while it is stopped, so
//! tests can run side by side. The child is ended with the [`Bchn`] that started it, by its own handle.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::node::Node;
use crate::port::Port;

/// How long the node may take until its RPC answers. It is 0.3 s on an idle machine.
const START: Duration = Duration::from_secs(180);
/// How long an orderly shutdown may take.
const STOP: Duration = Duration::from_secs(180);

/// A running `bitcoind -regtest`, or one that was stopped and can be started again.
#[derive(Debug)]
pub struct Bchn {
    program: PathBuf,
    arguments: Vec<String>,
    /// Whether it publishes the three topics.
    publishes: bool,
    /// Whether peers may connect to it.
    listens: bool,
    folder: TempDir,
    ports: Ports,
    child: Mutex<Option<Child>>,
}

#[derive(Debug)]
struct Ports {
    rpc: Port,
    rawtx: Port,
    hashblock: Port,
    hashds: Port,
    p2p: Port,
}

impl Bchn {
    /// The node program: what `BITCOIND` names, else `bitcoind` in `PATH`.
    pub fn find() -> Option<PathBuf> {
        if let Some(named) = std::env::var_os("BITCOIND") {
            return Some(PathBuf::from(named)).filter(|path| path.is_file());
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("bitcoind")).find(|file| file.is_file())
    }

    /// Starts `program` with an empty chain. Returns when its RPC answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(program: &Path) -> io::Result<Self> {
        Self::start_with(program, &[])
    }

    /// Starts `program` with an empty chain and without any `-zmqpub…`: it publishes nothing, and says so when asked.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_silent(program: &Path) -> io::Result<Self> {
        Self::start_as(program, &[], false, false)
    }

    /// Starts `program` with an empty chain, as a node that others connect to with [`Bchn::connect_to`].
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_listening(program: &Path) -> io::Result<Self> {
        Self::start_as(program, &[], true, true)
    }

    /// As [`Bchn::start`], with further command line arguments such as `-expire=1`.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_with(program: &Path, arguments: &[&str]) -> io::Result<Self> {
        Self::start_as(program, arguments, true, false)
    }

    fn start_as(program: &Path, arguments: &[&str], publishes: bool, listens: bool) -> io::Result<Self> {
        let node = Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            publishes,
            listens,
            folder: tempfile::Builder::new().prefix("bchn-").tempdir()?,
            ports: Ports::reserve()?,
            child: Mutex::new(None),
        };
        Node::start(&node)?;
        Ok(node)
    }

    /// The data folder of this node. The node's log is `regtest/debug.log` in it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Becomes a peer of another node that [listens](Bchn::start_listening). Returns when both have shaken hands.
    ///
    /// # Errors
    /// When they do not within three minutes.
    pub fn connect_to(&self, other: &Self) -> io::Result<()> {
        self.ask("setnetworkactive", &json!([true]))?;
        let address = other.ports.p2p.address().to_string();
        let deadline = Instant::now() + START;
        while !(self.has_peer()? && other.has_peer()?) {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the nodes do not find each other"));
            }
            if self.ask("getconnectioncount", &json!([]))? == json!(0) {
                self.ask("addnode", &json!([address, "onetry"]))?;
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Leaves all its peers. Returns when it has none.
    ///
    /// # Errors
    /// When it still has one after three minutes.
    pub fn disconnect(&self) -> io::Result<()> {
        self.ask("setnetworkactive", &json!([false]))?;
        let deadline = Instant::now() + STOP;
        while self.ask("getconnectioncount", &json!([]))? != json!(0) {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the node keeps its peers"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Whether a peer has told its version, and was told ours.
    fn has_peer(&self) -> io::Result<bool> {
        let peers = self.ask("getpeerinfo", &json!([]))?;
        let met = |peer: &Value| {
            peer["version"].as_u64() > Some(0) && peer["bytesrecv_per_msg"]["verack"].as_u64() > Some(0)
        };
        Ok(peers.as_array().is_some_and(|peers| peers.iter().any(met)))
    }

    fn ask(&self, method: &str, params: &Value) -> io::Result<Value> {
        self.call(method, params.clone()).map_err(io::Error::other)
    }

    fn command(&self) -> Command {
        let mut datadir = OsStr::new("-datadir=").to_owned();
        datadir.push(self.folder.path());
        let mut command = Command::new(&self.program);
        command
            .arg("-regtest")
            .arg(datadir)
            .arg("-server=1")
            .arg(format!("-rpcport={}", self.ports.rpc.number()))
            // No peers but those that a test names, no look at the network around.
            .args(["-connect=0", "-dnsseed=0", "-upnp=0", "-natpmp=0", "-discover=0", "-listenonion=0"])
            // 28.0.1 stops to answer RPC after its expiry date, on regtest too.
            .args(["-printtoconsole=0", "-expire=0"])
            // Self-checks that regtest does after each transaction and block.
            .args(["-checkmempool=0", "-checkblockindex=0"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if self.listens {
            command.arg("-listen=1").arg(format!("-bind={}", self.ports.p2p.address()));
        } else {
            command.arg("-listen=0");
        }
        if self.publishes {
            command
                .arg(format!("-zmqpubrawtx={}", endpoint(&self.ports.rawtx)))
                .arg(format!("-zmqpubhashblock={}", endpoint(&self.ports.hashblock)))
                .arg(format!("-zmqpubhashds={}", endpoint(&self.ports.hashds)));
        }
        command
    }

    /// Waits until RPC is out of its warm-up and all topics that it should publish are bound.
    fn ready(&self, child: &mut Child) -> io::Result<()> {
        let topics_wanted = if self.publishes { 3 } else { 0 };
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("{} ended at start: {status}", self.program.display())));
            }
            match self.call("getzmqnotifications", json!([])) {
                Ok(topics) if topics.as_array().is_some_and(|topics| topics.len() >= topics_wanted) => {
                    return Ok(());
                }
                Ok(topics) => return Err(io::Error::other(format!("a ZMQ port is taken: {topics}"))),
                // Expired software (-100) is up, too: it answers `stop`.
                Err(failure) if failure.code == -100 => return Ok(()),
                Err(failure) if Instant::now() > deadline => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, failure.to_string()));
                }
                Err(_) => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Node for Bchn {
    fn name(&self) -> &'static str {
        "bchn"
    }

    fn rpc_url(&self) -> String {
        format!("http://{}", self.ports.rpc.address())
    }

    fn cookie_file(&self) -> PathBuf {
        self.folder.path().join("regtest").join(".cookie")
    }

    fn zmq_rawtx(&self) -> String {
        endpoint(&self.ports.rawtx)
    }

    fn zmq_hashblock(&self) -> String {
        endpoint(&self.ports.hashblock)
    }

    fn zmq_hashds(&self) -> String {
        endpoint(&self.ports.hashds)
    }

    fn stop(&self) -> io::Result<()> {
        let mut slot = self.child.lock();
        let Some(child) = slot.as_mut() else { return Ok(()) };
        self.call("stop", json!([])).map_err(io::Error::other)?;
        let deadline = Instant::now() + STOP;
        while child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the node does not stop"));
            }
            sleep(Duration::from_millis(10));
        }
        *slot = None;
        Ok(())
    }

    fn kill(&self) -> io::Result<()> {
        if let Some(mut child) = self.child.lock().take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    fn start(&self) -> io::Result<()> {
        let mut slot = self.child.lock();
        if slot.is_some() {
            return Ok(());
        }
        let mut child = self.command().spawn()?;
        match self.ready(&mut child) {
            Ok(()) => {
                *slot = Some(child);
                Ok(())
            }
            Err(e) => {
                // It may have ended by itself already; either way it must not outlive this call.
                let _ = child.kill();
                child.wait()?;
                Err(e)
            }
        }
    }
}

impl Drop for Bchn {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.get_mut().take() {
            // Nothing is left to save, and nobody to tell.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Ports {
    fn reserve() -> io::Result<Self> {
        Ok(Self {
            rpc: Port::reserve()?,
            rawtx: Port::reserve()?,
            hashblock: Port::reserve()?,
            hashds: Port::reserve()?,
            p2p: Port::reserve()?,
        })
    }
}

fn endpoint(port: &Port) -> String {
    format!("tcp://{}", port.address())
}
