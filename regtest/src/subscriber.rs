//! A ZMQ subscriber of a node that knows when it hears.
//!
//! A subscription reaches the publisher some time after `connect`, and no event of libzmq tells when: what is published
//! before is lost to the subscriber. A subscriber here is therefore brought to hear by messages: something is published
//! again and again until it arrives. From then on nothing is lost, and how much was published is known: tests read so many
//! messages, and a message that should not have been sent stands in the way of the next one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bitcoincash::{Block, consensus, hashes::Hash};
use serde_json::json;

use crate::Node;
use crate::purse::nobody;
use crate::wait::{PATIENCE, eventually_blocking};

/// How long one of the first messages is waited for before the next one is published.
const FIRST: Duration = Duration::from_millis(200);

/// A message as a subscriber gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The topic, for instance `rawtx`.
    pub topic: String,
    /// The second part: bytes, or a hash in the order in which it is displayed.
    pub body: Vec<u8>,
    /// The number of the message in its topic, from 0 at the start of the node.
    pub counter: u32,
}

/// A SUB socket on one endpoint, subscribed to all that is published there. Between endpoints there is no order.
pub struct Subscriber {
    socket: zmq::Socket,
    _context: zmq::Context,
}

impl Subscriber {
    /// Connects. What is published before the subscription arrived is not heard, see [`Subscriber::hears`] and
    /// [`mine_until_heard`].
    ///
    /// # Errors
    /// When the endpoint is no address.
    pub fn connect(endpoint: &str) -> Result<Self> {
        let context = zmq::Context::new();
        let socket = context.socket(zmq::SUB)?;
        socket.set_rcvhwm(0)?;
        socket.set_linger(0)?;
        socket.set_reconnect_ivl(20)?;
        socket.set_subscribe(b"")?;
        socket.connect(endpoint)?;
        Ok(Self { socket, _context: context })
    }

    /// The next message.
    ///
    /// # Errors
    /// When none comes within [`PATIENCE`], or it has not three parts.
    pub fn next(&self) -> Result<Message> {
        self.next_within(PATIENCE)?.with_context(|| format!("no message within {PATIENCE:?}"))
    }

    /// The next messages, so many.
    ///
    /// # Errors
    /// As [`Subscriber::next`].
    pub fn take(&self, count: usize) -> Result<Vec<Message>> {
        let mut messages = Vec::with_capacity(count);
        for number in 0..count {
            let next = self.next();
            messages.push(next.with_context(|| format!("{number} of {count} messages: {messages:?}"))?);
        }
        Ok(messages)
    }

    /// All messages up to the one with this body, which is left out.
    ///
    /// # Errors
    /// As [`Subscriber::next`].
    pub fn take_until(&self, body: &[u8]) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        loop {
            let message = self.next().with_context(|| format!("after {messages:?}"))?;
            if message.body == body {
                return Ok(messages);
            }
            messages.push(message);
        }
    }

    /// Reads until the message with this body is there, for 200 ms. Gives it, or nothing when it was published before
    /// the subscription arrived.
    ///
    /// # Errors
    /// When a message has not three parts.
    pub fn hears(&self, body: &[u8]) -> Result<Option<Message>> {
        let until = Instant::now() + FIRST;
        loop {
            match self.next_within(until.saturating_duration_since(Instant::now()))? {
                Some(message) if message.body == body => return Ok(Some(message)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Whether nothing arrives for 100 ms. Only for messages that should not be sent and that no later message shows.
    ///
    /// # Errors
    /// When a message has not three parts.
    pub fn is_silent(&self) -> Result<bool> {
        Ok(self.next_within(Duration::from_millis(100))?.is_none())
    }

    fn next_within(&self, time: Duration) -> Result<Option<Message>> {
        if self.socket.poll(zmq::POLLIN, i64::try_from(time.as_millis())?)? == 0 {
            return Ok(None);
        }
        let parts = self.socket.recv_multipart(0)?;
        let Ok([topic, body, counter]) = <[Vec<u8>; 3]>::try_from(parts) else {
            bail!("a message that has not three parts")
        };
        let counter = counter.try_into().ok().map(u32::from_le_bytes).context("a counter of four bytes")?;
        Ok(Some(Message { topic: String::from_utf8(topic)?, body, counter }))
    }
}

/// The bodies with which the topics `rawtx` and `hashblock` tell of a block that has a coinbase alone.
struct Told {
    rawtx: Vec<u8>,
    hashblock: Vec<u8>,
}

/// Mines one block without transactions, to nobody.
fn mine_empty(node: &dyn Node) -> Result<Told> {
    let hash = node.mine_transactions(&[], &nobody())?;
    let raw = node.call("getblock", json!([hash.to_string(), 0]))?;
    let block: Block = consensus::encode::deserialize_hex(raw.as_str().context("a block in hex")?)?;
    let coinbase = block.txdata.first().context("a coinbase")?;
    let mut hashblock = hash.to_byte_array().to_vec();
    hashblock.reverse();
    Ok(Told { rawtx: consensus::serialize(coinbase), hashblock })
}

/// Mines blocks without transactions until a subscriber of `rawtx` and one of `hashblock` have heard of the same one,
/// and gives both messages. No message was published after them, and none is lost from now on.
///
/// # Errors
/// When the node does not take a block, or nothing is heard within [`PATIENCE`].
pub fn mine_until_heard(
    node: &dyn Node,
    rawtx: &Subscriber,
    hashblock: &Subscriber,
) -> Result<(Message, Message)> {
    eventually_blocking("a subscriber that hears", || {
        let told = mine_empty(node)?;
        let transaction = rawtx.hears(&told.rawtx)?;
        let block = hashblock.hears(&told.hashblock)?;
        Ok(transaction.zip(block))
    })
}

/// Mines one block without transactions, and gives what the subscribers of `rawtx` and `hashblock`, which hear already,
/// were told before it and had not read.
///
/// # Errors
/// When the node does not take the block, or it is not told within [`PATIENCE`].
pub fn all_before_a_block(
    node: &dyn Node,
    rawtx: &Subscriber,
    hashblock: &Subscriber,
) -> Result<(Vec<Message>, Vec<Message>)> {
    let told = mine_empty(node)?;
    Ok((rawtx.take_until(&told.rawtx)?, hashblock.take_until(&told.hashblock)?))
}
