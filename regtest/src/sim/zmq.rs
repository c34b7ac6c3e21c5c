//! The publisher: one PUB socket per topic, fed by one queue.
//!
//! Whoever changes the chain puts the events of the change into the queue while it still holds the chain, so the
//! order on the wire is the order of the changes. One thread owns the sockets and sends. `sendrawtransaction` waits at
//! the end of the queue before it answers, so its message is with libzmq before the reply is written; a refused
//! transaction does not wait, and what a double spend publishes leaves a little after the refusal.
//!
//! The sockets are real libzmq sockets with the options the node sets (none but no linger), so the high water mark of
//! 1000 messages is the node's, too: a subscriber that is overrun by a large block loses messages here as there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use std::{io, thread};

use bitcoincash::hashes::Hash;
use bytes::Bytes;
use parking_lot::Mutex;

use super::faults::Faults;
use crate::chain::Event;

/// Events that may wait for the sending thread. Whoever adds more waits, as the node's validation does.
const QUEUE: usize = 10_000;
/// How much later than the reply a double spend is told.
const AFTER_REFUSAL: Duration = Duration::from_millis(2);
/// How long a port may still be held by the sockets of the previous life.
const REBIND: Duration = Duration::from_secs(60);

/// What the node can publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Block hash at a new tip.
    HashBlock,
    /// Id of a mempool transaction that a double spend proof is known for.
    HashDs,
    /// Transaction id.
    HashTx,
    /// Block bytes at a new tip.
    RawBlock,
    /// Bytes of a mempool transaction that a double spend proof is known for.
    RawDs,
    /// Transaction bytes.
    RawTx,
}

impl Topic {
    /// The name on the wire, for instance `rawtx`.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashBlock => "hashblock",
            Self::HashDs => "hashds",
            Self::HashTx => "hashtx",
            Self::RawBlock => "rawblock",
            Self::RawDs => "rawds",
            Self::RawTx => "rawtx",
        }
    }
}

/// What waits for the sending thread.
enum Item {
    Event(Event),
    /// Answered when everything before it is sent.
    Barrier(SyncSender<()>),
}

/// One topic's socket.
struct Notifier {
    topic: Topic,
    socket: zmq::Socket,
    counter: u32,
}

struct Message {
    topic: Topic,
    body: Bytes,
    /// Counted, but not sent.
    lost: bool,
}

/// A message that is held back.
struct Held {
    due: Instant,
    message: Message,
}

/// The running publisher of one life of the node.
pub(super) struct Publisher {
    queue: SyncSender<Item>,
    thread: JoinHandle<()>,
    /// Bound topics with their addresses, sorted. A topic taken out of here is not sent any more.
    bound: Arc<Mutex<Vec<(Topic, String)>>>,
}

impl Publisher {
    /// Binds `topics` at their addresses.
    pub(super) fn bind(topics: &[(Topic, String)], faults: Faults) -> io::Result<Self> {
        let context = zmq::Context::new();
        let mut notifiers = Vec::new();
        let mut bound = Vec::new();
        for (topic, address) in topics {
            let socket = context.socket(zmq::PUB).map_err(io::Error::from)?;
            socket.set_linger(0).map_err(io::Error::from)?;
            bind(&socket, address)?;
            bound.push((*topic, address.clone()));
            notifiers.push(Notifier { topic: *topic, socket, counter: 0 });
        }
        bound.sort();
        notifiers.sort_by_key(|notifier| notifier.topic);
        let bound = Arc::new(Mutex::new(bound));
        let (queue, items) = sync_channel(QUEUE);
        let mut sender = Sender { notifiers, faults, bound: Arc::clone(&bound), held: VecDeque::new() };
        let thread = thread::Builder::new().name("sim-zmq".to_owned()).spawn(move || sender.run(&items))?;
        Ok(Self { queue, thread, bound })
    }

    /// The bound topics in alphabetical order.
    pub(super) fn notifications(&self) -> Vec<(Topic, String)> {
        self.bound.lock().clone()
    }

    /// Ends one topic for this life of the node.
    pub(super) fn remove(&self, topic: Topic) {
        self.bound.lock().retain(|(bound, _)| *bound != topic);
    }

    /// Adds an event at the end of the queue.
    pub(super) fn publish(&self, event: Event) {
        // The thread lives as long as the queue's sender.
        let _ = self.queue.send(Item::Event(event));
    }

    /// Adds a mark at the end of the queue. The receiver hears of it when all before it is with libzmq.
    pub(super) fn barrier(&self) -> Receiver<()> {
        let (done, heard) = sync_channel(1);
        let _ = self.queue.send(Item::Barrier(done));
        heard
    }

    /// Sends what is queued, then closes the sockets.
    pub(super) fn close(self) {
        drop(self.queue);
        let _ = self.thread.join();
    }
}

/// Binds, and waits a little where the sockets of the previous life are not yet gone.
fn bind(socket: &zmq::Socket, address: &str) -> io::Result<()> {
    let deadline = Instant::now() + REBIND;
    loop {
        match socket.bind(address) {
            Ok(()) => return Ok(()),
            Err(zmq::Error::EADDRINUSE) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(10))
            }
            Err(e) => return Err(io::Error::other(format!("{address}: {e}"))),
        }
    }
}

/// The sending thread's own.
struct Sender {
    notifiers: Vec<Notifier>,
    faults: Faults,
    bound: Arc<Mutex<Vec<(Topic, String)>>>,
    held: VecDeque<Held>,
}

impl Sender {
    fn run(&mut self, items: &Receiver<Item>) {
        loop {
            let next = match self.held.front() {
                None => items.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(held) => items.recv_timeout(held.due.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Item::Event(event)) => self.take(&event),
                // Nobody waiting any more is fine.
                Ok(Item::Barrier(done)) => match done.try_send(()) {
                    Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while self.held.front().is_some_and(|held| held.due <= Instant::now()) {
                if let Some(held) = self.held.pop_front() {
                    self.send(&held.message);
                }
            }
        }
    }

    /// Sends the messages of one event, in alphabetical order of their topics, or holds them back.
    fn take(&mut self, event: &Event) {
        if matches!(event, Event::DoubleSpend { .. }) {
            thread::sleep(AFTER_REFUSAL);
        }
        for (topic, body) in messages(event) {
            if !self.bound.lock().iter().any(|(bound, _)| *bound == topic) {
                continue;
            }
            let delivery = self.faults.delivery(topic);
            for _ in 0..delivery.times.max(1) {
                let message = Message { topic, body: body.clone(), lost: delivery.times == 0 };
                let behind = self.held.back().map(|held| held.due);
                if delivery.delay.is_zero() && behind.is_none() {
                    self.send(&message);
                } else {
                    let due = Instant::now() + delivery.delay;
                    self.held.push_back(Held { due: behind.map_or(due, |behind| behind.max(due)), message });
                }
            }
        }
    }

    fn send(&mut self, message: &Message) {
        let Message { topic, body, lost } = message;
        let Some(notifier) = self.notifiers.iter_mut().find(|notifier| notifier.topic == *topic) else {
            return;
        };
        let parts = [topic.name().as_bytes(), body, &notifier.counter.to_le_bytes()];
        // A PUB socket never blocks; what a subscriber cannot take is dropped inside libzmq.
        if *lost || notifier.socket.send_multipart(parts, 0).is_ok() {
            notifier.counter = notifier.counter.wrapping_add(1);
        }
    }
}

/// The messages of one event.
fn messages(event: &Event) -> [(Topic, Bytes); 2] {
    match event {
        Event::Transaction { txid, raw } => {
            [(Topic::HashTx, displayed(txid.to_byte_array())), (Topic::RawTx, raw.clone())]
        }
        Event::Block { hash, raw } => {
            [(Topic::HashBlock, displayed(hash.to_byte_array())), (Topic::RawBlock, raw.clone())]
        }
        Event::DoubleSpend { txid, raw } => {
            [(Topic::HashDs, displayed(txid.to_byte_array())), (Topic::RawDs, raw.clone())]
        }
    }
}

/// A hash in the byte order in which it is printed.
fn displayed(mut hash: [u8; 32]) -> Bytes {
    hash.reverse();
    Bytes::copy_from_slice(&hash)
}
