//! The accept loop.
//!
//! It is our own, on hyper, because what a stranger's connection can hold on to must have an end: a silent one, a head
//! that comes byte by byte, an answer that is not read. Plain TCP speaks HTTP/1.1 here and nothing else; a server that
//! waits to find out which protocol it is has no deadline for that. A connection gets its permit before it is
//! accepted, so that too many of them wait in the system's queue and cost us nothing.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{Request, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tower::ServiceExt as _;

use super::{
    settings::Limits,
    state::Peer,
    stop::Stop,
    stream::{Course, Stream},
};

/// The largest head of a request, in bytes.
const MOST_HEAD_BYTES: usize = 32 * 1024;

/// The longest pause after a failure to accept. Most often there are too many open files, and some will close.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// How many at once.
    pub max_connections: usize,
    /// How long the head of a request may take from its first byte, and a new connection until then.
    pub header_timeout: Duration,
    /// How long a connection is kept for its next request, and how long a client may leave an answer unread.
    pub idle_timeout: Duration,
    /// How long requests and sockets have to finish once everything stops.
    pub drain_timeout: Duration,
}

impl ServeSettings {
    /// What the limits say, and how long everything has to finish.
    pub fn new(limits: &Limits, drain_timeout: Duration) -> Self {
        Self {
            max_connections: limits.max_connections,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            drain_timeout,
        }
    }
}

/// Serves a router until it is told to stop: then no connection is accepted any more, requests under way are
/// answered, sockets are closed with a code, and what has not finished in time is cut.
pub async fn serve(listener: TcpListener, router: Router, settings: ServeSettings, stop: Stop) {
    let permits = Arc::new(Semaphore::new(settings.max_connections));
    let mut connections = JoinSet::new();
    let accepted = async {
        let mut pause = Duration::from_millis(5);
        // The semaphore is never closed.
        while let Ok(permit) = permits.clone().acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = Duration::from_millis(5);
                    let connection = connection(stream, peer, router.clone(), settings, stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, ?pause, "cannot accept connections");
                    metrics::counter!("jppd_http_accept_failures_total").increment(1);
                    tokio::time::sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepted => {}
        () = stop.stopped() => {}
    }
    drop(listener);
    if tokio::time::timeout(settings.drain_timeout, stop.finished()).await.is_err() {
        tracing::warn!(left = stop.workers(), "connections are cut that did not finish in time");
    }
    connections.shutdown().await;
}

/// Whether accepting failed because of that one connection, and the next may well succeed.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    settings: ServeSettings,
    stop: Stop,
) {
    let _work = stop.work();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "a connection has gone");
        return;
    }
    let course = Arc::new(Course::default());
    let stream = Stream::new(stream, course.clone(), settings.header_timeout, settings.idle_timeout);
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, course) = (router.clone(), course.clone());
        course.request_began();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer.ip()));
            let answer = match router.oneshot(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            };
            // What follows on a connection that was given to a socket is no head.
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                course.request_ended();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.idle_timeout.max(settings.header_timeout))
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}
