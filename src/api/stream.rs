//! The bytes of one connection, with its deadlines.
//!
//! The server below knows one deadline, and counts it from the end of the last answer until a whole head was read: for
//! a connection that is kept for its next request it must be long, for a head that comes byte by byte it must be
//! short. So the long one is given to the server, and the short one is held here, from the first byte of a head; and
//! with it the one that the server does not have at all, for a client that leaves its answer unread.

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

/// What the bytes of a connection are part of: a head, or a request that is being answered.
#[derive(Debug, Default)]
pub(super) struct Course {
    answering: AtomicBool,
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
}

/// A deadline that was set.
#[derive(Debug)]
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    /// How many heads had been read then.
    heads: usize,
}

/// A connection's bytes with its deadlines.
#[derive(Debug)]
pub(super) struct Stream<T> {
    io: T,
    course: Arc<Course>,
    header_timeout: Duration,
    unread_timeout: Duration,
    head: Option<Deadline>,
    unread: Option<Pin<Box<Sleep>>>,
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

    /// Sets, checks or lifts the deadline of what is written, by whether it was taken.
    fn written<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let unread_timeout = self.unread_timeout;
        let deadline = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(unread_timeout)));
        ready!(deadline.as_mut().poll(cx));
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
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
