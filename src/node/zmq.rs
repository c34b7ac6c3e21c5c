//! What the node publishes, as signals: one thread that receives and does nothing else.
//!
//! The thread never waits for a reader. When the channel is full a signal is dropped and counted, and
//! [`Signal::Overflow`] takes the place of all that were dropped as soon as there is room again; it stands before
//! anything that was received later. No reader has to poll for trouble: it is in the stream.
//!
//! The queue of signals for the reader has two limits: the number of signals, and the bytes of their transactions
//! ([`MOST_BYTES`]).
//!
//! A message is three parts: topic, body, and a number of four bytes. The number belongs to the topic, counts what
//! the node has published (not what reached us), and begins at 0 when the node starts.

use std::fmt;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use ::zmq::{Context, DONTWAIT, Error, PollEvents, Socket, SocketEvent, SocketType};
use bitcoincash::hashes::Hash as _;
use bitcoincash::{BlockHash, Txid};
use bytes::Bytes;
use metrics::{Counter, Gauge};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::error::StartError;

/// How many messages libzmq holds for each topic while the thread is away; what comes on top waits in the kernel and at the
/// node, which drops it then. As many as the node itself holds for a subscriber.
const RECEIVE_LIMIT: i32 = 1_000;

/// The largest part of a message, in bytes: the rules of the network allow a transaction a million. A larger one ends the
/// connection, which is made again.
const PART_LIMIT: i64 = 1 << 20;

/// How many bytes of transactions may wait for the reader. Beyond that signals are dropped, and a pass finds what was in them.
pub const MOST_BYTES: usize = 64 << 20;

/// For how long a socket without a connection is kept before another one takes its place.
const RENEWAL: Duration = Duration::from_secs(5);

/// How long a topic may be without a connection before that is told.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How often room is looked for while an overflow waits to be told, in milliseconds.
const OVERFLOW_POLL_MS: i64 = 10;

/// How many messages of one topic are taken before the others are looked at.
const TURN: usize = 1_000;

/// A topic of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// `rawtx`: transactions, when they enter the mempool and whenever a block is connected or disconnected.
    RawTx,
    /// `hashblock`: new tips.
    HashBlock,
    /// `hashds`: transactions in the mempool that somebody tries to double-spend.
    HashDs,
}

impl Topic {
    /// The topic as it stands in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RawTx => "rawtx",
            Self::HashBlock => "hashblock",
            Self::HashDs => "hashds",
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the node publishes, and what became of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A transaction entered the mempool, was confirmed, or was disconnected: the node does not say which.
    Transaction {
        /// Its bytes.
        raw: Bytes,
    },
    /// There is a new tip. After a reorganisation only the first tip that won is announced.
    Block(BlockHash),
    /// This transaction of the mempool is being double-spent.
    DoubleSpend(Txid),
    /// Messages of a topic are missing, or the node has restarted (`got` is then small). Stands before the message
    /// numbered `got`.
    Gap {
        /// Which topic.
        topic: Topic,
        /// The number that should have come.
        expected: u32,
        /// The number that came.
        got: u32,
    },
    /// A topic is connected. Messages published until now, and for some milliseconds from now, may be missing.
    Connected(Topic),
    /// A topic has lost its connection. It is made again without end.
    Disconnected(Topic),
    /// The channel was full.
    Overflow {
        /// How many signals were dropped here.
        dropped: u64,
    },
}

/// Where the node publishes. A topic without an address is not received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZmqSettings {
    /// Address of `rawtx`, such as `tcp://127.0.0.1:28333`.
    pub rawtx: Option<String>,
    /// Address of `hashblock`; it should be another than that of `rawtx`, or blocks are lost in the flood of their
    /// own transactions.
    pub hashblock: Option<String>,
    /// Address of `hashds`.
    pub hashds: Option<String>,
    /// How many signals may wait for the reader; at least 1.
    pub capacity: usize,
}

/// Signals that the thread received, in order.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::Receiver<Signal>,
    /// The bytes of the transactions that wait.
    held: Arc<AtomicUsize>,
}

impl Signals {
    /// Waits for the next signal; `None` when the thread has ended.
    pub async fn recv(&mut self) -> Option<Signal> {
        let signal = self.receiver.recv().await?;
        self.held.fetch_sub(size_of(&signal), Ordering::Relaxed);
        Some(signal)
    }
}

/// The bytes of a signal that count.
fn size_of(signal: &Signal) -> usize {
    if let Signal::Transaction { raw } = signal { raw.len() } else { 0 }
}

/// Connection state of each configured topic. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    /// Since when each configured topic has none; `None` while it has one.
    missing: Arc<Vec<(Topic, Mutex<Option<Instant>>)>>,
}

impl Connections {
    fn new(topics: impl Iterator<Item = Topic>, now: Instant) -> Self {
        Self { missing: Arc::new(topics.map(|topic| (topic, Mutex::new(Some(now)))).collect()) }
    }

    /// Whether a topic is configured and has been without a connection for half a minute, at a moment: since the start, or
    /// since it was lost.
    #[must_use]
    pub fn is_missing(&self, topic: Topic, now: Instant) -> bool {
        let since =
            self.missing.iter().find(|(known, _)| *known == topic).and_then(|(_, since)| *since.lock());
        since.is_some_and(|since| now.saturating_duration_since(since) >= LONGEST_SILENCE)
    }

    fn set(&self, topic: Topic, connected: bool) {
        if let Some((_, since)) = self.missing.iter().find(|(known, _)| *known == topic) {
            *since.lock() = (!connected).then(Instant::now);
        }
    }
}

/// The thread that receives. Dropping it stops it.
pub struct Subscriber {
    /// A socket is not made for two threads at once, and a subscriber may be shared.
    stop: Mutex<Socket>,
    thread: Option<JoinHandle<()>>,
    connections: Connections,
}

impl Subscriber {
    /// Connects to the addresses (which succeeds also while the node is down) and starts the thread.
    ///
    /// # Errors
    ///
    /// [`StartError::Endpoint`], [`StartError::Zmq`] and [`StartError::Thread`].
    pub fn start(settings: &ZmqSettings) -> Result<(Self, Signals), StartError> {
        let context = Context::new();
        let topics = [
            (Topic::RawTx, &settings.rawtx),
            (Topic::HashBlock, &settings.hashblock),
            (Topic::HashDs, &settings.hashds),
        ];
        let mut feeds = Vec::new();
        for (topic, endpoint) in topics {
            if let Some(endpoint) = endpoint {
                feeds.push(Feed::connect(&context, topic, endpoint)?);
            }
        }
        let refused = |error: Error| StartError::Zmq(error.to_string());
        let stopped = context.socket(SocketType::PAIR).map_err(refused)?;
        stopped.bind("inproc://stop").map_err(refused)?;
        let stop = context.socket(SocketType::PAIR).map_err(refused)?;
        stop.set_linger(0).map_err(refused)?;
        stop.connect("inproc://stop").map_err(refused)?;
        let (sender, receiver) = mpsc::channel(settings.capacity.clamp(1, 1 << 20));
        let held = Arc::new(AtomicUsize::new(0));
        let connections = Connections::new(feeds.iter().map(|feed| feed.topic), Instant::now());
        let outlet = Outlet {
            sender,
            held: held.clone(),
            pending: 0,
            dropped: metrics::counter!("jppd_node_zmq_dropped_total"),
            connections: connections.clone(),
        };
        let thread =
            Builder::new().name("node-zmq".into()).spawn(move || receive(feeds, &stopped, outlet))?;
        let subscriber = Self { stop: Mutex::new(stop), thread: Some(thread), connections };
        Ok((subscriber, Signals { receiver, held }))
    }

    /// Returns the connection state of each configured topic.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// Stops the thread and waits for its end, which takes some milliseconds.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // A thread that has ended by itself has no socket left to send to; then there is nothing to stop.
        let _ = self.stop.lock().send("", DONTWAIT);
        if thread.join().is_err() {
            tracing::error!("the thread that receives from the node ended by itself");
        }
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").finish_non_exhaustive()
    }
}

/// The life of the thread.
fn receive(mut feeds: Vec<Feed>, stop: &Socket, mut outlet: Outlet) {
    loop {
        let mut items = vec![stop.as_poll_item(PollEvents::POLLIN)];
        for feed in &feeds {
            items.push(feed.monitor.as_poll_item(PollEvents::POLLIN));
            items.push(feed.socket.as_poll_item(PollEvents::POLLIN));
        }
        let patience = if outlet.pending > 0 {
            OVERFLOW_POLL_MS
        } else if feeds.iter().any(|feed| !feed.connected) {
            i64::try_from(RENEWAL.as_millis()).unwrap_or(i64::MAX)
        } else {
            -1
        };
        match ::zmq::poll(&mut items, patience) {
            Ok(_) | Err(Error::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "polling ZMQ failed");
                return;
            }
        }
        if items.first().is_some_and(|item| item.is_readable()) || outlet.sender.is_closed() {
            return;
        }
        drop(items);
        outlet.tell_overflow();
        for feed in &mut feeds {
            feed.watch(&mut outlet);
            feed.drain(&mut outlet);
            feed.renew(Instant::now());
        }
    }
}

/// By which family of addresses an endpoint is reached. libzmq takes the first address that it finds of a name, and of one
/// family only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    /// An address of IPv4, or none at all.
    V4,
    /// An address of IPv6.
    V6,
    /// A name: either of the two, and which of them has the node behind it only a connection tells.
    Either,
}

impl Family {
    fn of(endpoint: &str) -> Self {
        let Some((host, _)) = endpoint.strip_prefix("tcp://").and_then(|place| place.rsplit_once(':')) else {
            return Self::V4;
        };
        if host.starts_with('[') || host.parse::<Ipv6Addr>().is_ok() {
            Self::V6
        } else if host.parse::<Ipv4Addr>().is_ok() {
            Self::V4
        } else {
            Self::Either
        }
    }
}

/// A socket that connects to an endpoint, and its monitor. `number` tells the monitors of one topic apart.
fn open(
    context: &Context,
    topic: Topic,
    endpoint: &str,
    by_ipv6: bool,
    number: u32,
) -> Result<(Socket, Socket), StartError> {
    let unusable = |reason: String| StartError::Endpoint { topic, reason };
    if endpoint.contains('\0') {
        return Err(unusable("a zero byte".into()));
    }
    let make = || -> ::zmq::Result<(Socket, Socket)> {
        let socket = context.socket(SocketType::SUB)?;
        socket.set_ipv6(by_ipv6)?;
        socket.set_rcvhwm(RECEIVE_LIMIT)?;
        socket.set_maxmsgsize(PART_LIMIT)?;
        socket.set_reconnect_ivl(100)?;
        socket.set_reconnect_ivl_max(5_000)?;
        socket.set_heartbeat_ivl(10_000)?;
        socket.set_heartbeat_timeout(30_000)?;
        socket.set_tcp_keepalive(1)?;
        socket.set_linger(0)?;
        // Before the connection, so that its first event is seen.
        let place = format!("inproc://monitor-{topic}-{number}");
        let events = SocketEvent::HANDSHAKE_SUCCEEDED.to_raw() | SocketEvent::DISCONNECTED.to_raw();
        socket.monitor(&place, events.into())?;
        let monitor = context.socket(SocketType::PAIR)?;
        monitor.set_linger(0)?;
        monitor.connect(&place)?;
        socket.set_subscribe(topic.name().as_bytes())?;
        Ok((socket, monitor))
    };
    let (socket, monitor) = make().map_err(|error| StartError::Zmq(error.to_string()))?;
    socket.connect(endpoint).map_err(|error| unusable(error.to_string()))?;
    Ok((socket, monitor))
}

/// One topic: its socket, the monitor of that socket, and where its numbers stand.
struct Feed {
    context: Context,
    topic: Topic,
    endpoint: String,
    family: Family,
    /// Whether the endpoint is tried by IPv6 now.
    by_ipv6: bool,
    /// How many sockets there were before this one.
    opened: u32,
    /// Since when this one tries to connect, if it is not connected.
    tried: Instant,
    socket: Socket,
    monitor: Socket,
    expected: Option<u32>,
    connected: bool,
    up: Gauge,
    messages: Counter,
    gaps: Counter,
    bad: Counter,
}

impl Feed {
    fn connect(context: &Context, topic: Topic, endpoint: &str) -> Result<Self, StartError> {
        let family = Family::of(endpoint);
        let by_ipv6 = family == Family::V6;
        let (socket, monitor) = open(context, topic, endpoint, by_ipv6, 0)?;
        let counter = |name: &'static str| metrics::counter!(name, "topic" => topic.name());
        let up = metrics::gauge!("jppd_node_zmq_connected", "topic" => topic.name());
        up.set(0.0);
        Ok(Self {
            context: context.clone(),
            topic,
            endpoint: endpoint.to_owned(),
            family,
            by_ipv6,
            opened: 0,
            tried: Instant::now(),
            up,
            socket,
            monitor,
            expected: None,
            connected: false,
            messages: counter("jppd_node_zmq_messages_total"),
            gaps: counter("jppd_node_zmq_gaps_total"),
            bad: counter("jppd_node_zmq_bad_messages_total"),
        })
    }

    /// Takes a new socket where the old one has had no connection for a while: a name is tried by the other family of
    /// addresses, and libzmq itself never tries again after a frame that was too large, or another breach of its protocol.
    fn renew(&mut self, now: Instant) {
        if self.connected || now.saturating_duration_since(self.tried) < RENEWAL {
            return;
        }
        self.tried = now;
        self.opened = self.opened.wrapping_add(1);
        let by_ipv6 = self.by_ipv6 != (self.family == Family::Either);
        match open(&self.context, self.topic, &self.endpoint, by_ipv6, self.opened) {
            Ok((socket, monitor)) => {
                (self.socket, self.monitor, self.by_ipv6) = (socket, monitor, by_ipv6);
                tracing::debug!(topic = %self.topic, by_ipv6, "trying the node's ZMQ anew");
            }
            Err(error) => tracing::warn!(topic = %self.topic, %error, "the node's ZMQ cannot be tried anew"),
        }
    }

    /// Tells what the monitor has seen of the connection.
    fn watch(&mut self, outlet: &mut Outlet) {
        while let Some(Parts { first, .. }) = parts(&self.monitor) {
            // Two bytes of event, in the machine's order. Turning them into the enum panics on unknown ones.
            let Some(event) = first.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes)) else { continue };
            let connected = event == SocketEvent::HANDSHAKE_SUCCEEDED.to_raw();
            if connected == self.connected || !(connected || event == SocketEvent::DISCONNECTED.to_raw()) {
                continue;
            }
            self.connected = connected;
            self.tried = Instant::now();
            self.up.set(if connected { 1.0 } else { 0.0 });
            outlet.connections.set(self.topic, connected);
            tracing::debug!(topic = %self.topic, connected, "the node's ZMQ");
            let signal = if connected { Signal::Connected } else { Signal::Disconnected };
            outlet.deliver(signal(self.topic));
        }
    }

    /// Tells what has arrived.
    fn drain(&mut self, outlet: &mut Outlet) {
        for _ in 0..TURN {
            let Some(message) = parts(&self.socket) else { return };
            let Some((signal, number)) = self.read(message) else {
                self.bad.increment(1);
                tracing::debug!(topic = %self.topic, "a ZMQ message cannot be understood");
                continue;
            };
            self.messages.increment(1);
            if let Some(expected) = self.expected.filter(|expected| *expected != number) {
                self.gaps.increment(1);
                outlet.deliver(Signal::Gap { topic: self.topic, expected, got: number });
            }
            self.expected = Some(number.wrapping_add(1));
            outlet.deliver(signal);
        }
    }

    fn read(&self, message: Parts) -> Option<(Signal, u32)> {
        // A subscription is a prefix, so the topic is looked at.
        if message.count != 3 || message.first != self.topic.name().as_bytes() {
            return None;
        }
        let number = u32::from_le_bytes(message.third.try_into().ok()?);
        let signal = match self.topic {
            Topic::RawTx if message.second.is_empty() => return None,
            Topic::RawTx => Signal::Transaction { raw: message.second.into() },
            Topic::HashBlock => Signal::Block(BlockHash::from_byte_array(displayed(&message.second)?)),
            Topic::HashDs => Signal::DoubleSpend(Txid::from_byte_array(displayed(&message.second)?)),
        };
        Some((signal, number))
    }
}

/// A message's first three parts, and how many it has.
#[derive(Default)]
struct Parts {
    first: Vec<u8>,
    second: Vec<u8>,
    third: Vec<u8>,
    count: usize,
}

/// The next message, if one is there.
fn parts(socket: &Socket) -> Option<Parts> {
    let mut parts = Parts::default();
    loop {
        // libzmq hands over a message when all its parts are there, so only the first can be missing.
        let part = loop {
            match socket.recv_msg(DONTWAIT) {
                Ok(part) => break part,
                Err(Error::EINTR) => {}
                Err(_) => return None,
            }
        };
        match parts.count {
            0 => parts.first = part.to_vec(),
            1 => parts.second = part.to_vec(),
            2 => parts.third = part.to_vec(),
            _ => {}
        }
        parts.count = parts.count.saturating_add(1);
        if !part.get_more() {
            return Some(parts);
        }
    }
}

/// A hash as the node publishes it, the way it is displayed; inside, hashes stand the other way round.
fn displayed(bytes: &[u8]) -> Option<[u8; 32]> {
    let mut hash: [u8; 32] = bytes.try_into().ok()?;
    hash.reverse();
    Some(hash)
}

/// The way to the reader.
struct Outlet {
    sender: mpsc::Sender<Signal>,
    /// The bytes of the transactions that wait for the reader.
    held: Arc<AtomicUsize>,
    /// How many signals were dropped and not told yet.
    pending: u64,
    dropped: Counter,
    connections: Connections,
}

impl Outlet {
    fn deliver(&mut self, signal: Signal) {
        self.tell_overflow();
        if self.pending > 0 {
            self.drop_one();
        } else if !self.send(signal) {
            tracing::warn!("too much of ZMQ waits to be looked at");
            self.drop_one();
        }
    }

    /// Hands a signal over if there is room for it. A reader that has left needs none.
    fn send(&mut self, signal: Signal) -> bool {
        let bytes = size_of(&signal);
        // Only the reader takes away from it in between.
        let held = self.held.fetch_add(bytes, Ordering::Relaxed);
        if held.saturating_add(bytes) <= MOST_BYTES
            && !matches!(self.sender.try_send(signal), Err(TrySendError::Full(_)))
        {
            return true;
        }
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        false
    }

    /// Tells of what was dropped, once there is room for more than the next signal: so that a flood is told a few times, and
    /// not after every signal that the reader takes.
    fn tell_overflow(&mut self) {
        if self.pending > 0
            && self.held.load(Ordering::Relaxed) <= MOST_BYTES.div_euclid(2)
            && self.send(Signal::Overflow { dropped: self.pending })
        {
            self.pending = 0;
        }
    }

    fn drop_one(&mut self) {
        self.pending = self.pending.saturating_add(1);
        self.dropped.increment(1);
    }
}

#[cfg(test)]
#[path = "zmq_test.rs"]
mod tests;
