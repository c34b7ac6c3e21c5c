//! The body of a request, within its limits.
//!
//! A body is read to its end before any answer is sent, whether or not the answer needs it: a client, or a proxy in
//! front of it, that writes the whole body first loses an answer that comes earlier, because the system resets a
//! connection that is closed with unread bytes. [`Inbound`] stands between the connection and the handlers for that, and
//! sees to it that a body arrives with [`FLOOR`](super::stream::FLOOR) bytes a second on average. [`Budget`] bounds the
//! memory of all bodies together.

use std::{
    collections::BTreeMap,
    error::Error,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, Sleep},
};

use super::{connections::Place, stream::longest};

/// The bytes of all bodies that are received or worked on at once.
pub(super) const MOST_UNDER_WAY: usize = 64 << 20;

/// Whether the body of a request has arrived: whose fault it is if the request takes too long.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrival(Arc<AtomicBool>);

impl Arrival {
    /// The body is here, or nobody waits for it.
    pub(super) fn complete(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(super) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A body that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBody {
    /// The body is larger than this many bytes: the client's fault.
    #[error("the body has more than {0} bytes")]
    TooLarge(usize),
    /// The body broke off: the fault of the client or of its network.
    #[error("the body broke off")]
    BrokenOff,
    /// The body came too slowly: the fault of the client or of its network.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// All bodies together are too large at the moment: nobody's fault.
    #[error("too many bodies are under way")]
    NoRoom,
}

/// The whole body, of at most `limit` bytes. Its bytes count in the budget for as long as any of them are kept.
///
/// # Errors
///
/// [`BadBody`], after the rest of the body has been read if the body goes on.
pub(super) async fn receive(
    mut body: Body,
    arrival: &Arrival,
    limit: usize,
    budget: &Budget,
) -> Result<Bytes, BadBody> {
    let collected = collect(&mut body, limit, budget).await;
    if matches!(collected, Err(BadBody::TooLarge(_) | BadBody::NoRoom)) {
        // `Inbound` reads the rest of the body, up to a limit of bytes and of time.
        drop(body);
    }
    if collected.as_ref().err() != Some(&BadBody::TooSlow) {
        arrival.complete();
    }
    collected
}

async fn collect(body: &mut Body, limit: usize, budget: &Budget) -> Result<Bytes, BadBody> {
    let mut held = budget.hold();
    let mut received = Vec::new();
    loop {
        let frame = tokio::select! {
            biased;
            () = held.given_up() => return Err(BadBody::NoRoom),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { break };
        let frame =
            frame.map_err(|error| if is_too_slow(&error) { BadBody::TooSlow } else { BadBody::BrokenOff })?;
        let Ok(data) = frame.into_data() else { continue };
        if received.len().saturating_add(data.len()) > limit {
            return Err(BadBody::TooLarge(limit));
        }
        received.reserve(data.len());
        if !held.grow_to(received.capacity()) {
            return Err(BadBody::NoRoom);
        }
        received.extend_from_slice(&data);
    }
    held.complete();
    Ok(Bytes::from_owner(Received { bytes: received, _held: held }))
}

/// Whether [`TooSlow`] is behind an error.
fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    error.is::<TooSlow>() || error.source().is_some_and(is_too_slow)
}

/// A body that is here, with its share of the budget.
struct Received {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The memory that all bodies may take together. When it is full, the body that has been on its way the longest is given
/// up for the newest: so a client that holds back the ends of many bodies keeps nobody out. Cheap to clone; all clones
/// are one.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    most: usize,
    shared: Arc<Mutex<Shares>>,
}

#[derive(Debug, Default)]
struct Shares {
    next: u64,
    used: usize,
    /// Bodies on their way, in the order of their beginning.
    arriving: BTreeMap<u64, Arriving>,
}

#[derive(Debug)]
struct Arriving {
    bytes: usize,
    give_up: Arc<Notify>,
}

/// The share of one body; dropped, it is free again.
#[derive(Debug)]
struct Held {
    id: u64,
    budget: Budget,
    give_up: Arc<Notify>,
    /// Bytes of a body that has arrived; a body on its way has its bytes in [`Shares::arriving`].
    complete: usize,
}

impl Budget {
    /// So many bytes.
    pub(super) fn new(most: usize) -> Self {
        Self { most, shared: Arc::default() }
    }

    fn hold(&self) -> Held {
        let give_up = Arc::new(Notify::new());
        let mut shares = self.shared.lock();
        shares.next += 1;
        let id = shares.next;
        shares.arriving.insert(id, Arriving { bytes: 0, give_up: give_up.clone() });
        drop(shares);
        Held { id, budget: self.clone(), give_up, complete: 0 }
    }
}

impl Held {
    /// Takes more of the budget. `false` if there is no more, or if the body was given up.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let mut shares = self.budget.shared.lock();
        loop {
            let Some(own) = shares.arriving.get(&self.id).map(|own| own.bytes) else { return false };
            let used = shares.used - own + bytes.max(own);
            if used <= self.budget.most {
                shares.used = used;
                if let Some(arriving) = shares.arriving.get_mut(&self.id) {
                    arriving.bytes = bytes.max(own);
                }
                return true;
            }
            let oldest = shares.arriving.iter().find(|(id, other)| **id != self.id && other.bytes > 0);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { return false };
            if let Some(given_up) = shares.arriving.remove(&oldest) {
                shares.used = shares.used.saturating_sub(given_up.bytes);
                given_up.give_up.notify_one();
                metrics::counter!("jppd_http_bodies_given_up_total").increment(1);
            }
        }
    }

    async fn given_up(&self) {
        self.give_up.notified().await;
    }

    /// The body has arrived: it is not given up any more.
    fn complete(&mut self) {
        if let Some(own) = self.budget.shared.lock().arriving.remove(&self.id) {
            self.complete = own.bytes;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut shares = self.budget.shared.lock();
        let arriving = shares.arriving.remove(&self.id).map_or(0, |own| own.bytes);
        shares.used = shares.used.saturating_sub(self.complete + arriving);
    }
}

/// Fewer bytes arrived than a body must have by now.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body arrives too slowly")]
struct TooSlow;

/// The body of a request between the connection and the handlers. Clones are one body, so that what a handler leaves
/// can be read by [`Inbound::drain`].
pub(super) struct Inbound<B>(Arc<Mutex<Reading<B>>>);

impl<B> Clone for Inbound<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct Reading<B> {
    body: B,
    bytes: u64,
    began: Instant,
    /// Time before the floor counts.
    patience: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_asked_for: bool,
    has_ended: bool,
    place: Arc<Place>,
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> Inbound<B> {
    /// A body whose floor counts after `patience`. Once it has arrived, the connection at `place` works.
    pub(super) fn new(body: B, patience: Duration, place: Arc<Place>) -> Self {
        let has_ended = body.is_end_stream();
        if has_ended {
            place.works();
        }
        let began = Instant::now();
        let reading =
            Reading { body, bytes: 0, began, patience, sleep: None, is_asked_for: false, has_ended, place };
        Self(Arc::new(Mutex::new(reading)))
    }

    /// Reads what a handler left, of at most `most` bytes, until a deadline.
    pub(super) async fn drain(&self, most: u64, deadline: Instant) {
        let bytes = self.0.lock().bytes;
        let rest = async {
            while let Some(Ok(_)) = poll_fn(|cx| self.0.lock().poll(cx)).await {
                if self.0.lock().bytes.saturating_sub(bytes) > most {
                    break;
                }
            }
        };
        // A client that is too slow loses its answer by its own doing.
        let _ = tokio::time::timeout_at(deadline, rest).await;
    }

    /// Whether the client waits for a word before it sends the body (`Expect: 100-continue`), and no handler gave it.
    pub(super) fn was_never_asked_for(&self) -> bool {
        let reading = self.0.lock();
        !reading.is_asked_for && !reading.has_ended
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> Reading<B> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_asked_for = true;
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx).map_err(axum::Error::new);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.bytes = self.bytes.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
                if self.body.is_end_stream() {
                    self.end();
                }
            }
            Poll::Ready(Some(Err(_)) | None) => self.end(),
            Poll::Pending => {
                let deadline = self.began + self.patience + longest(self.bytes);
                let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if sleep.deadline() < deadline {
                    sleep.as_mut().reset(deadline);
                }
                if sleep.as_mut().poll(cx).is_ready() {
                    metrics::counter!("jppd_http_bodies_cut_total").increment(1);
                    self.has_ended = true;
                    return Poll::Ready(Some(Err(axum::Error::new(TooSlow))));
                }
            }
        }
        frame
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.sleep = None;
        self.place.works();
    }
}

impl<B: HttpBody<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin> HttpBody for Inbound<B> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.0.lock().poll(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().has_ended
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::api::connections::{Connections, Holder};

    /// A body that goes on with what is sent to it.
    fn body(receiver: tokio::sync::mpsc::Receiver<Bytes>) -> Body {
        let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
            Some((Ok::<_, Infallible>(Frame::data(receiver.recv().await?)), receiver))
        });
        Body::new(StreamBody::new(frames))
    }

    #[tokio::test]
    async fn when_the_budget_is_full_the_oldest_that_has_not_arrived_is_given_up() {
        let budget = Budget::new(1000);
        let start = |bytes: usize| {
            let (sender, receiver) = tokio::sync::mpsc::channel(4);
            sender.try_send(Bytes::from(vec![7; bytes])).unwrap();
            let budget = budget.clone();
            let task =
                tokio::spawn(
                    async move { receive(body(receiver), &Arrival::default(), 2000, &budget).await },
                );
            (sender, task)
        };
        let settle = async || tokio::time::sleep(Duration::from_millis(20)).await;
        let (first, oldest) = start(400);
        settle().await;
        let (second, older) = start(400);
        settle().await;
        let (third, newest) = start(400);
        assert_eq!(oldest.await.unwrap(), Err(BadBody::NoRoom));
        drop((first, second, third));
        let arrived = (older.await.unwrap().unwrap(), newest.await.unwrap().unwrap());
        assert_eq!((arrived.0.len(), arrived.1.len()), (400, 400));
        // The budget never gives up a body that has arrived, so a new body finds no room beside it.
        let (_fourth, task) = start(400);
        assert_eq!(task.await.unwrap(), Err(BadBody::NoRoom));
        // A part of a body keeps its share.
        let part = arrived.0.slice(..1);
        drop(arrived);
        let (fifth, task) = start(700);
        assert_eq!(task.await.unwrap(), Err(BadBody::NoRoom));
        drop((part, fifth));
        let (sixth, task) = start(1000);
        drop(sixth);
        assert_eq!(task.await.unwrap().unwrap().len(), 1000);
        let shares = budget.shared.lock();
        assert_eq!((shares.used, shares.arriving.len()), (0, 0));
    }

    #[tokio::test]
    async fn limits() {
        let budget = Budget::new(1000);
        for (length, expected) in [(10, Ok(10)), (11, Err(BadBody::TooLarge(10)))] {
            let body = Body::new(Full::new(Bytes::from(vec![0; length])));
            let received = receive(body, &Arrival::default(), 10, &budget).await;
            assert_eq!(received.map(|bytes| bytes.len()), expected);
        }
    }

    #[tokio::test]
    async fn a_body_slower_than_the_floor_ends() {
        let connections = Connections::new(1, 0, Duration::ZERO);
        let place = Arc::new(connections.enter(Holder::Proxy).unwrap());
        let budget = Budget::new(1 << 20);
        // Bytes in each 50 ms, and whether so many are enough after a patience of 200 ms.
        for (each_time, is_enough) in [(10, false), (1000, true)] {
            let (sender, receiver) = tokio::sync::mpsc::channel(4);
            let inbound = Inbound::new(body(receiver), Duration::from_millis(200), place.clone());
            let sending = tokio::spawn(async move {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    if sender.send(Bytes::from(vec![0; each_time])).await.is_err() {
                        break;
                    }
                }
            });
            let arrival = Arrival::default();
            let received = receive(Body::new(inbound), &arrival, 1 << 20, &budget).await;
            let expected = if is_enough { Ok(20 * each_time) } else { Err(BadBody::TooSlow) };
            assert_eq!(received.map(|bytes| bytes.len()), expected);
            assert_eq!(arrival.is_complete(), is_enough);
            sending.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_handler_leaves_is_read_up_to_a_bound() {
        let connections = Connections::new(1, 0, Duration::ZERO);
        let place = Arc::new(connections.enter(Holder::Proxy).unwrap());
        for (most, left) in [(10_000, 0), (2_500, 7)] {
            let (sender, receiver) = tokio::sync::mpsc::channel(10);
            for _ in 0..10 {
                sender.try_send(Bytes::from(vec![0; 1000])).unwrap();
            }
            drop(sender);
            let patience = Duration::from_secs(5);
            let inbound = Inbound::new(body(receiver), patience, place.clone());
            assert!(inbound.was_never_asked_for());
            inbound.drain(most, Instant::now() + patience).await;
            assert!(!inbound.was_never_asked_for());
            let mut rest = 0;
            let mut inbound = Body::new(inbound);
            while let Some(frame) = inbound.frame().await {
                frame.unwrap();
                rest += 1;
            }
            assert_eq!(rest, left);
        }
    }
}
