//! The stand-in: a Bitcoin Cash Node 28.0.1 on regtest, as its clients see it, inside the test's process.
//!
//! It answers JSON-RPC over HTTP and publishes over ZMQ, both on loopback, so what is tested against it is the same
//! client code that talks to a real node. The rules of the chain are in [`crate::chain`]; here are the servers around
//! it, and the switches that make them fail ([`Faults`]).
//!
//! What it keeps of the real node: the wire (statuses, error codes and texts, field order, amounts with eight
//! decimals, three-part messages with counters), the order of things (a message is published before the call that
//! caused it is answered), and the life of a process (cookie per start, warm-up, mempool saved by a stop, not by a
//! kill). What is not there: peers, a wallet, REST, verbosities 2 and 3, files on disk other than the cookie. The
//! conformance suite of this crate runs the same checks against a real node and tells the two apart.
//!
//! # Layout
//!
//! * [`SimNode`] (here): start, stop, kill; the lock around the chain that puts everything into one order
//! * `http`: connections and the transport's refusals; `rpc`: the envelope, batches, where faults strike
//! * `methods`, `blocks`, `transactions`, `control`: the table of methods and what they do
//! * `params`: how parameters are read and refused; `json`: how amounts, scripts and transactions are written
//! * `zmq`: the publisher; `faults`: the switches; `clock`: the time

mod blocks;
mod clock;
mod control;
mod faults;
mod http;
mod json;
mod methods;
mod params;
mod rpc;
mod transactions;
mod zmq;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;
use tokio::sync::mpsc;

pub use self::clock::SimClock;
pub(crate) use self::clock::wall_time;
pub use self::faults::{Faults, RpcFault};
pub use self::zmq::Topic;

use self::http::Command;
use self::methods::Context;
use self::params::Params;
use self::zmq::Publisher;
use crate::chain::{Chain, Event};
use crate::node::{Node, RpcFailure};
use crate::port::Port;

/// How a stand-in is started.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// Calls worked on at the same time (`-rpcthreads`).
    pub rpc_threads: usize,
    /// Calls that may wait beyond those (`-rpcworkqueue`); one more is refused with a plain text.
    pub rpc_queue: usize,
    /// How long every start answers -28 first.
    pub warm_up: Duration,
    /// How long RPC `stop` keeps the port open, answering 503, before the node is down.
    pub stopping: Duration,
    /// How long a connection may be idle (`-rpcservertimeout`).
    pub idle: Duration,
    /// What is published over ZMQ, each on a port of its own.
    pub topics: Vec<Topic>,
    /// The node's time.
    pub clock: SimClock,
    /// Data folder and ports; `None` for a temporary folder and free ports.
    pub place: Option<SimPlace>,
}

/// Data folder and ports of a stand-in that others find without being told, as they find a `bitcoind`.
#[derive(Clone, Debug)]
pub struct SimPlace {
    /// The data folder, which exists, and is kept when the stand-in ends.
    pub folder: PathBuf,
    /// Permissions of the cookie file, before the umask of the process is applied.
    pub cookie_mode: u32,
    /// The port of JSON-RPC on 127.0.0.1.
    pub rpc_port: u16,
    /// The ports of the topics on 127.0.0.1, in the order of [`SimOptions::topics`].
    pub zmq_ports: Vec<u16>,
}

impl Default for SimOptions {
    /// The real node's defaults, no warm-up, and the three topics of [`Node`].
    fn default() -> Self {
        Self {
            rpc_threads: 4,
            rpc_queue: 16,
            warm_up: Duration::ZERO,
            stopping: Duration::from_millis(50),
            idle: Duration::from_secs(30),
            topics: vec![Topic::HashBlock, Topic::HashDs, Topic::RawTx],
            clock: SimClock::default(),
            place: None,
        }
    }
}

/// A stand-in node. It ends when it is dropped.
pub struct SimNode {
    shared: Arc<Shared>,
}

/// What the servers and the handle share.
struct Shared {
    options: SimOptions,
    faults: Faults,
    folder: Folder,
    ports: Ports,
    chain: Mutex<Chain>,
    /// The mempool as the last orderly stop saved it, in order of entry.
    saved: Mutex<Vec<Bytes>>,
    life: Mutex<Life>,
    /// The servers of this life. Taken out by whoever ends it.
    running: Mutex<Option<Running>>,
}

/// The data folder.
enum Folder {
    /// Removed when the stand-in is dropped.
    Temporary(TempDir),
    /// Named by [`SimPlace::folder`].
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(folder) => folder,
        }
    }
}

/// Ports that stay the same, and reserved, over restarts.
struct Ports {
    rpc: Port,
    zmq: Vec<(Topic, Port)>,
}

impl Ports {
    fn reserve(options: &SimOptions) -> io::Result<Self> {
        let port = |given: Option<u16>| given.map_or_else(Port::reserve, Port::at);
        let place = options.place.as_ref();
        let mut zmq = Vec::new();
        for (index, topic) in options.topics.iter().enumerate() {
            zmq.push((*topic, port(place.and_then(|place| place.zmq_ports.get(index)).copied())?));
        }
        Ok(Self { rpc: port(place.map(|place| place.rpc_port))?, zmq })
    }

    /// The topics with their addresses, for instance `tcp://127.0.0.1:40001`.
    fn endpoints(&self) -> Vec<(Topic, String)> {
        self.zmq.iter().map(|(topic, port)| (*topic, format!("tcp://{}", port.address()))).collect()
    }
}

/// One life of the node, from start to stop or kill.
struct Life {
    phase: Phase,
    started: Instant,
    /// Whether the tip was recent at any time of this life.
    caught_up: bool,
    publisher: Option<Publisher>,
}

/// Where in its life the node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Down,
    WarmingUp,
    Up,
    Stopping,
}

/// The server thread of one life.
struct Running {
    thread: JoinHandle<io::Result<()>>,
    commands: mpsc::Sender<Command>,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    /// A client over HTTP: faults apply.
    Client,
    /// The test itself: it sees the truth.
    Harness,
}

impl SimNode {
    /// Starts a stand-in with an empty chain. Its servers answer when this returns, and what it announces by itself is
    /// published: a subscriber that connects later does not hear of it.
    ///
    /// # Errors
    /// When a port or a temporary folder cannot be had.
    pub fn start(options: SimOptions) -> io::Result<Self> {
        let now = options.clock.now();
        let folder = match &options.place {
            Some(place) => Folder::Kept(place.folder.clone()),
            None => Folder::Temporary(tempfile::Builder::new().prefix("sim-").tempdir()?),
        };
        let ports = Ports::reserve(&options)?;
        let node = Self {
            shared: Arc::new(Shared {
                options,
                faults: Faults::default(),
                folder,
                ports,
                chain: Mutex::new(Chain::new(now)),
                saved: Mutex::default(),
                life: Mutex::new(Life {
                    phase: Phase::Down,
                    started: Instant::now(),
                    caught_up: false,
                    publisher: None,
                }),
                running: Mutex::new(None),
            }),
        };
        Node::start(&node)?;
        node.shared.announce_genesis();
        node.shared.flush();
        Ok(node)
    }

    /// The switches that make this node fail.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The node's time.
    pub fn clock(&self) -> &SimClock {
        &self.shared.options.clock
    }

    /// Works on the chain itself, between two calls of clients. What it changes is published afterwards.
    pub fn with_chain<R>(&self, work: impl FnOnce(&mut Chain) -> R) -> R {
        let mut chain = self.shared.chain.lock();
        let result = work(&mut chain);
        self.shared.publish(&mut chain);
        result
    }

    /// Closes the RPC port and its connections (`true`), or opens it again (`false`), while the node runs on.
    ///
    /// # Errors
    /// When the port is taken meanwhile, or the node is down.
    pub fn refuse_rpc(&self, on: bool) -> io::Result<()> {
        let commands = match &*self.shared.running.lock() {
            Some(running) => running.commands.clone(),
            None => return Err(io::Error::new(io::ErrorKind::NotConnected, "the node is down")),
        };
        let gone = |_| io::Error::new(io::ErrorKind::NotConnected, "the node goes down");
        if on {
            let (done, heard) = sync_channel(1);
            commands.try_send(Command::Refuse(done)).map_err(io::Error::other)?;
            heard.recv().map_err(gone)
        } else {
            let (done, heard) = sync_channel(1);
            commands.try_send(Command::Accept(done)).map_err(io::Error::other)?;
            heard.recv().map_err(gone)?
        }
    }

    /// Ends `topic` until the next start: it is not published and `getzmqnotifications` does not list it any more.
    /// The node does this itself when a message cannot be sent.
    pub fn remove_notifier(&self, topic: Topic) {
        if let Some(publisher) = &self.shared.life.lock().publisher {
            publisher.remove(topic);
        }
    }

    /// The address of a topic, for instance `tcp://127.0.0.1:40001`; `None` for a topic that was not asked for.
    pub fn zmq(&self, topic: Topic) -> Option<String> {
        self.shared
            .ports
            .endpoints()
            .into_iter()
            .find(|(bound, _)| *bound == topic)
            .map(|(_, address)| address)
    }
}

impl Node for SimNode {
    fn name(&self) -> &'static str {
        "SimNode"
    }

    fn rpc_url(&self) -> String {
        format!("http://{}", self.shared.ports.rpc.address())
    }

    fn cookie_file(&self) -> PathBuf {
        self.shared.cookie_file()
    }

    /// Empty when the options left the topic out.
    fn zmq_rawtx(&self) -> String {
        self.zmq(Topic::RawTx).unwrap_or_default()
    }

    /// Empty when the options left the topic out.
    fn zmq_hashblock(&self) -> String {
        self.zmq(Topic::HashBlock).unwrap_or_default()
    }

    /// Empty when the options left the topic out.
    fn zmq_hashds(&self) -> String {
        self.zmq(Topic::HashDs).unwrap_or_default()
    }

    /// Goes to the chain directly: no fault is in the way.
    fn call(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        if self.shared.phase() == Phase::Down {
            return Err(RpcFailure::new(RpcFailure::UNREACHABLE, "the node is down"));
        }
        let result = self.shared.execute(method, Some(&params), Caller::Harness)?;
        serde_json::from_str(result.get()).map_err(|e| RpcFailure::new(RpcFailure::UNUSABLE, e.to_string()))
    }

    fn stop(&self) -> io::Result<()> {
        self.shared.end(true)
    }

    fn kill(&self) -> io::Result<()> {
        self.shared.end(false)
    }

    fn start(&self) -> io::Result<()> {
        self.shared.begin()
    }
}

impl Drop for SimNode {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.shared.end(false);
    }
}

impl Shared {
    fn cookie_file(&self) -> PathBuf {
        self.folder.path().join(".cookie")
    }

    fn phase(&self) -> Phase {
        let mut life = self.life.lock();
        if life.phase == Phase::WarmingUp && life.started.elapsed() >= self.options.warm_up {
            life.phase = Phase::Up;
        }
        life.phase
    }

    /// Whole seconds since the start.
    fn uptime(&self) -> u64 {
        self.life.lock().started.elapsed().as_secs()
    }

    /// Whether the node thinks that it is still loading the chain. Once it knew a recent block, it never does again.
    fn is_catching_up(&self, tip_is_old: bool) -> bool {
        let mut life = self.life.lock();
        life.caught_up |= !tip_is_old;
        !life.caught_up
    }

    /// The topics of this life with their addresses.
    fn notifications(&self) -> Vec<(Topic, String)> {
        self.life.lock().publisher.as_ref().map(Publisher::notifications).unwrap_or_default()
    }

    /// Makes one call. Everything that reads or changes the chain comes through here or
    /// [`SimNode::with_chain`], one after the other.
    fn execute(
        self: &Arc<Self>,
        method: &str,
        params: Option<&Value>,
        caller: Caller,
    ) -> Result<Box<RawValue>, RpcFailure> {
        let method = methods::find(method)?;
        let params = Params::read(params, method.names)?;
        if !(method.required..=method.names.len()).contains(&params.len()) {
            return Err(RpcFailure::new(-1, method.usage()));
        }
        let (result, barrier) = {
            let mut chain = self.chain.lock();
            let now = self.options.clock.now();
            let result = (method.run)(&mut Context { node: self, chain: &mut chain, now, caller }, &params);
            self.publish(&mut chain);
            let waits = method.waits && result.is_ok();
            (result, self.life.lock().publisher.as_ref().filter(|_| waits).map(Publisher::barrier))
        };
        if let Some(barrier) = barrier {
            // An error says that the node goes down; then nobody waits for messages.
            let _ = barrier.recv();
        }
        result
    }

    /// Hands the events of the latest change to the publisher. The caller holds the chain, which makes the order.
    fn publish(&self, chain: &mut Chain) {
        let events = chain.take_events();
        if let Some(publisher) = &self.life.lock().publisher {
            for event in events {
                publisher.publish(event);
            }
        }
    }

    /// A node that starts with an empty folder connects the genesis block: its coinbase is the first `rawtx`.
    fn announce_genesis(&self) {
        let chain = self.chain.lock();
        let genesis = chain.hash_at(0).and_then(|hash| chain.block(hash));
        let coinbase = genesis.and_then(|block| Some((*block.txids.first()?, block.transaction_raw(0)?)));
        if let (Some((txid, raw)), Some(publisher)) = (coinbase, &self.life.lock().publisher) {
            publisher.publish(Event::Transaction { txid, raw });
        }
    }

    /// Returns when all that was published until now is with libzmq, which drops what no subscriber is there for.
    fn flush(&self) {
        let barrier = self.life.lock().publisher.as_ref().map(Publisher::barrier);
        if let Some(barrier) = barrier {
            // An error says that the node goes down; then nothing is published any more.
            let _ = barrier.recv();
        }
    }

    /// Starts the servers, unless they run. What was saved of the mempool is announced again.
    fn begin(self: &Arc<Self>) -> io::Result<()> {
        while self.phase() == Phase::Stopping {
            thread::sleep(Duration::from_millis(5));
        }
        let mut running = self.running.lock();
        if running.is_some() {
            return Ok(());
        }
        let publisher = Publisher::bind(&self.ports.endpoints(), self.faults.clone())?;
        let listener = TcpListener::bind(self.ports.rpc.address())?;
        listener.set_nonblocking(true)?;
        let secret = self.write_cookie()?;
        *self.life.lock() = Life {
            phase: Phase::WarmingUp,
            started: Instant::now(),
            caught_up: false,
            publisher: Some(publisher),
        };
        self.load_mempool();
        self.flush();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // More than anybody has under way: each is waited for.
        let (commands, orders) = mpsc::channel(16);
        let node = Arc::clone(self);
        // A runtime must not be dropped on a thread that belongs to another one: it gets a thread of its own.
        let thread = thread::Builder::new()
            .name("sim-rpc".to_owned())
            .spawn(move || runtime.block_on(http::serve(node, listener, &secret, orders)))?;
        *running = Some(Running { thread, commands });
        Ok(())
    }

    /// Ends this life of the node, if there is one.
    fn end(&self, orderly: bool) -> io::Result<()> {
        // Held to the end, so that a start meanwhile waits for the ports.
        let mut slot = self.running.lock();
        let Some(running) = slot.take() else { return Ok(()) };
        // A full queue means that the server is about to hear something; a closed one, that it has ended.
        let _ = running.commands.try_send(Command::Quit);
        drop(running.commands);
        let served =
            running.thread.join().unwrap_or_else(|_| Err(io::Error::other("the RPC server panicked")));
        let publisher = {
            let chain = self.chain.lock();
            if orderly {
                *self.saved.lock() = chain.mempool_entries().map(|entry| entry.raw.clone()).collect();
            }
            let mut life = self.life.lock();
            life.phase = Phase::Down;
            life.publisher.take()
        };
        if let Some(publisher) = publisher {
            publisher.close();
        }
        if orderly {
            fs::remove_file(self.cookie_file())?;
        }
        served
    }

    /// What RPC `stop` does: the answer first, then 503 for a while, then down.
    fn end_soon(self: &Arc<Self>) -> io::Result<()> {
        self.life.lock().phase = Phase::Stopping;
        let node = Arc::clone(self);
        thread::Builder::new().name("sim-stop".to_owned()).spawn(move || {
            thread::sleep(node.options.stopping);
            // The thread has nobody to report to; the next start will say what is wrong.
            let _ = node.end(true);
        })?;
        Ok(())
    }

    /// A new password in the cookie file, readable by its owner only unless [`SimPlace::cookie_mode`] says more.
    fn write_cookie(&self) -> io::Result<String> {
        let secret = format!("__cookie__:{}", hex::encode(random()?));
        let path = self.cookie_file();
        // One that a kill left behind has to go, or it would keep its mode.
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mode = self.options.place.as_ref().map_or(0o600, |place| place.cookie_mode);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(secret.as_bytes())?;
        Ok(secret)
    }

    /// Fills the mempool from what the last orderly stop saved.
    fn load_mempool(&self) {
        let mut chain = self.chain.lock();
        let now = self.options.clock.now();
        chain.clear_mempool();
        drop(chain.take_events());
        for raw in &*self.saved.lock() {
            // What is in a block by now is not a transaction of the mempool any more.
            let _ = chain.submit(raw, true, now);
        }
        self.publish(&mut chain);
    }
}

/// 32 bytes nobody can guess.
fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
