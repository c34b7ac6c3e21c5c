//! The bytes of one connection, with its deadlines.
//!
//! The server below knows one deadline, and counts it from the end of the last answer until a whole head was read: for
//! a connection that is kept for its next request it must be long, for a head that comes byte by byte it must be
//! short. So the long one is given to the server, and the short one is held here, from the first byte of a head; and
//! with it the one that the server does not have at all, for a client that leaves its answer unread or takes it byte by
//! byte: once an answer does not fit into the system's buffers, at least [`FLOOR`] bytes a second of it must be taken on
//! average, beyond a first patience. Neither holds for a WebSocket, which has deadlines of its own.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// The bytes a second that a body must arrive with and an answer must be read with, on average. The slowest line that
/// wallets are used on carries twenty times as much.
pub(super) const FLOOR: u64 = 1024;

/// How long so many bytes may take at the slowest.
pub(super) fn longest(bytes: u64) -> Duration {
    Duration::from_millis(bytes.saturating_mul(1000).div_euclid(FLOOR))
}

/// State of a connection: its bytes belong to a head, to a request that is being answered, or to a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Course {
    answering: AtomicBool,
    upgraded: AtomicBool,
    heads: AtomicUsize,
}

impl Course {
    /// A head was read whole.
    pub(super) fn request_began(&self) {
        self.answering.store(true, Ordering::Release);
        self.heads.fetch_add(1, Ordering::AcqRel);
    }

    /// The request is answered: what comes now is the next head.
    pub(super) fn request_ended(&self) {
        self.answering.store(false, Ordering::Release);
    }

    /// The connection is a WebSocket from now on.
    pub(super) fn upgraded(&self) {
        self.upgraded.store(true, Ordering::Release);
    }
}

/// A deadline that was set.
#[derive(Debug)]
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    /// How many heads had been read then.
    heads: usize,
}

/// An answer that waits to be read.
#[derive(Debug)]
struct Unread {
    sleep: Pin<Box<Sleep>>,
    since: Instant,
    /// Bytes taken since then.
    taken: u64,
}

/// A connection's bytes with its deadlines.
#[derive(Debug)]
pub(super) struct Stream<T> {
    io: T,
    course: Arc<Course>,
    header_timeout: Duration,
    unread_timeout: Duration,
    head: Option<Deadline>,
    unread: Option<Unread>,
}

impl<T> Stream<T> {
    /// A new connection, whose first head is awaited from now on.
    pub(super) fn new(
        io: T,
        course: Arc<Course>,
        header_timeout: Duration,
        unread_timeout: Duration,
    ) -> Self {
        let mut stream = Self { io, course, header_timeout, unread_timeout, head: None, unread: None };
        stream.await_head();
        stream
    }

    fn await_head(&mut self) {
        let heads = self.course.heads.load(Ordering::Acquire);
        let sleep = Box::pin(tokio::time::sleep_until(Instant::now() + self.header_timeout));
        self.head = Some(Deadline { sleep, heads });
    }

    /// Whether the head that is being read took too long.
    fn check_head(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let heads = self.course.heads.load(Ordering::Acquire);
        match &mut self.head {
            Some(deadline) if deadline.heads == heads => match deadline.sleep.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    metrics::counter!("jppd_http_heads_cut_total").increment(1);
                    Err(timed_out("the head of a request took too long"))
                }
                Poll::Pending => Ok(()),
            },
            _ => {
                self.head = None;
                Ok(())
            }
        }
    }

    /// Counts what is taken of an answer that waits to be read, and sets and checks its deadline.
    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.course.upgraded.load(Ordering::Acquire) {
            self.unread = None;
            return written;
        }
        if let Poll::Ready(result) = written {
            if let (Some(unread), Ok(bytes)) = (&mut self.unread, &result) {
                unread.taken = unread.taken.saturating_add(u64::try_from(*bytes).unwrap_or(u64::MAX));
            }
            return Poll::Ready(result);
        }
        let patience = self.unread_timeout;
        let unread = self.unread.get_or_insert_with(|| Unread {
            sleep: Box::pin(tokio::time::sleep(patience)),
            since: Instant::now(),
            taken: 0,
        });
        let deadline = unread.since + patience + longest(unread.taken);
        if unread.sleep.deadline() < deadline {
            unread.sleep.as_mut().reset(deadline);
        }
        ready!(unread.sleep.as_mut().poll(cx));
        metrics::counter!("jppd_http_answers_cut_total").increment(1);
        Poll::Ready(Err(timed_out("the client does not read")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<T: AsyncRead + Unpin> AsyncRead for Stream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_head(cx)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        let began = buffer.filled().len() > before && !self.course.answering.load(Ordering::Acquire);
        if began && self.head.is_none() {
            self.await_head();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // All that there was to write is taken.
        self.unread = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
