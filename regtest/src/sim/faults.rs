//! What a test can make go wrong at the stand-in.
//!
//! Each switch is something a real node was seen to do, but cannot be told to do: ZMQ messages lost at the high water
//! mark, an answer that never comes although the effect happened, a mempool that reads as empty for a moment. The
//! switches act on what clients see; the harness's own calls ([`Node::call`](crate::Node::call) of the stand-in)
//! reach the chain beside them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::zmq::Topic;

/// What happens to one RPC call instead of an ordinary answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcFault {
    /// Not done; the answer is this error.
    Error {
        /// The error code.
        code: i32,
        /// The error text.
        message: String,
    },
    /// Not done; the answer is this HTTP status with a plain text. 500 with `Work queue depth exceeded` is what an
    /// overrun node says; see also [`Faults::queue_full`].
    Http {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// Not done; the connection is reset.
    Reset,
    /// Done and answered, but only after this time.
    Delay(Duration),
    /// Done and answered, but only after [`Faults::release`].
    Held,
    /// Not done; silence for this time, then the connection is reset.
    Hang(Duration),
    /// Done; the connection is reset instead of an answer.
    ApplyThenReset,
    /// Done; silence for this time, then the connection is reset.
    ApplyThenHang(Duration),
}

/// The switches of one stand-in. Clones turn the same switches. They outlive a restart of the node.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    /// Whether calls that are held may go on.
    released: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct State {
    /// By method; `*` is any method. What is left of each, oldest first.
    rpc: Vec<(String, u32, RpcFault)>,
    warm_up: Option<String>,
    expired: bool,
    queue_full: bool,
    mempool_loading: bool,
    empty_mempool: u32,
    drop: HashMap<Topic, u64>,
    silent: HashMap<Topic, bool>,
    repeat: HashMap<Topic, u32>,
    delay: Duration,
}

/// What is to be done with one ZMQ message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    /// How often it is sent: 0 is lost, though counted.
    pub(super) times: u32,
    /// How long it is held back.
    pub(super) delay: Duration,
}

impl Faults {
    /// The next `times` calls of `method` (`*` for any) meet `fault`. Several for one method are used up in the
    /// order they were given.
    pub fn fail_rpc(&self, method: &str, times: u32, fault: RpcFault) {
        if times > 0 {
            self.state.lock().rpc.push((method.to_owned(), times, fault));
        }
    }

    /// While set, every method answers -28 with this text, as a node does that is still starting.
    pub fn warm_up(&self, text: Option<&str>) {
        self.state.lock().warm_up = text.map(str::to_owned);
    }

    /// While set, every method but `stop` answers -100, as software does after its expiry date.
    pub fn expired(&self, on: bool) {
        self.state.lock().expired = on;
    }

    /// While set, every request is answered with HTTP 500 `Work queue depth exceeded` in plain text.
    pub fn queue_full(&self, on: bool) {
        self.state.lock().queue_full = on;
    }

    /// While set, `getmempoolinfo` says `loaded: false`, as after a restart while `mempool.dat` is read.
    pub fn mempool_loading(&self, on: bool) {
        self.state.lock().mempool_loading = on;
    }

    /// The next `times` calls of `getrawmempool` see an empty mempool, as in the middle of a reorganisation.
    pub fn empty_mempool(&self, times: u32) {
        self.state.lock().empty_mempool = times;
    }

    /// The next `count` messages of `topic` are lost. They are counted, so the next one that arrives shows a gap.
    pub fn drop_next(&self, topic: Topic, count: u64) {
        self.state.lock().drop.insert(topic, count);
    }

    /// While set, every message of `topic` is lost, though counted.
    pub fn silence(&self, topic: Topic, on: bool) {
        self.state.lock().silent.insert(topic, on);
    }

    /// While above 0, each message of `topic` is followed by so many copies with counters of their own, as the node
    /// does when it announces a transaction again.
    pub fn repeat(&self, topic: Topic, copies: u32) {
        self.state.lock().repeat.insert(topic, copies);
    }

    /// Messages reach the subscriber so much later than the RPC answer. Their order stays.
    pub fn delay_zmq(&self, delay: Duration) {
        self.state.lock().delay = delay;
    }

    /// Lets every call go on that meets [`RpcFault::Held`], now or later.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Returns after [`Faults::release`].
    pub(super) async fn released(&self) {
        // The sender is part of `self`, so it outlives the waiting.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }

    /// Turns every switch off. A call that is held stays held.
    pub fn clear(&self) {
        *self.state.lock() = State::default();
        self.released.send_replace(false);
    }

    pub(super) fn next_for(&self, method: &str) -> Option<RpcFault> {
        let rpc = &mut self.state.lock().rpc;
        let index = rpc.iter().position(|(name, ..)| name == method || name == "*")?;
        let (_, left, fault) = rpc.get_mut(index)?;
        *left -= 1;
        let (done, fault) = (*left == 0, fault.clone());
        if done {
            rpc.remove(index);
        }
        Some(fault)
    }

    pub(super) fn warming_up(&self) -> Option<String> {
        self.state.lock().warm_up.clone()
    }

    pub(super) fn is_expired(&self) -> bool {
        self.state.lock().expired
    }

    pub(super) fn is_queue_full(&self) -> bool {
        self.state.lock().queue_full
    }

    pub(super) fn is_mempool_loading(&self) -> bool {
        self.state.lock().mempool_loading
    }

    pub(super) fn take_empty_mempool(&self) -> bool {
        let left = &mut self.state.lock().empty_mempool;
        let empty = *left > 0;
        *left = left.saturating_sub(1);
        empty
    }

    pub(super) fn delivery(&self, topic: Topic) -> Delivery {
        let state = &mut *self.state.lock();
        let dropped = match state.drop.get_mut(&topic) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => state.silent.get(&topic).copied().unwrap_or(false),
        };
        let copies = state.repeat.get(&topic).copied().unwrap_or(0);
        Delivery { times: if dropped { 0 } else { copies.saturating_add(1) }, delay: state.delay }
    }
}
