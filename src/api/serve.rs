//! The accept loop.
//!
//! It is our own, on hyper, because what a stranger's connection can hold on to must have an end: a silent one, a head
//! that comes byte by byte, an answer that is not read. Plain TCP speaks HTTP/1.1 here and nothing else; a server that
//! waits to find out which protocol it is has no deadline for that. A connection too many takes the place of one that does
//! nothing (`connections`); where every other connection has a request that is being answered, it waits.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use hyper::{
    Request, Response, StatusCode, body::Incoming, header::EXPECT, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::Instant,
};
use tower::ServiceExt as _;

use super::{
    connections::{Connections, Holder, NoPlace, Place},
    limits::subscriber,
    proxies::TrustedProxies,
    receive::Inbound,
    settings::Limits,
    state::Peer,
    stop::Stop,
    stream::{Course, Stream},
};

/// The largest head of a request, in bytes.
const MOST_HEAD_BYTES: usize = 32 * 1024;

/// The longest pause after a failure to accept. Most often there are too many open files, and some will close.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connections that wait in the system's queue to be accepted. A burst beyond it costs a client a second, until it sends
/// its first packet again.
const BACKLOG: u32 = 4096;

/// The system's buffer for what a connection sends, in bytes (Linux gives twice as much). Left to itself it grows to
/// megabytes, and how slowly a client reads could be seen only after minutes.
const SEND_BUFFER: u32 = 128 * 1024;

/// How many times the largest body is read off the line and forgotten, so that a client which is still sending gets to
/// see why it is refused.
const DRAINED: usize = 16;

/// The part of the time for a head during which a connection without an answer counts as new.
const NEW: u32 = 10;

/// Connections that are being told that their client has too many.
const MOST_REFUSALS: usize = 64;

/// How long a connection that is refused may take to read that.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// The answer to a connection that is refused.
const REFUSAL: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Type: application/json; charset=utf-8\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 44\r\n\r\n\
    {\"detail\":\"Too many requests are under way\"}";

/// How connections are served.
#[derive(Clone, Debug)]
pub struct ServeSettings {
    /// How many at once.
    pub max_connections: usize,
    /// How many of one client at once; 0 for no limit.
    pub max_connections_per_address: usize,
    /// The proxies whose connections have no limit of their own.
    pub trusted_proxies: TrustedProxies,
    /// How many bytes of a body are read off the line although no answer needs them.
    pub max_drained_bytes: u64,
    /// How long a request may take from the end of its head to its answer, the arrival of its body included.
    pub request_timeout: Duration,
    /// How long the head of a request may take from its first byte, and a new connection until then.
    pub header_timeout: Duration,
    /// How long a connection is kept for its next request, and how long a client may leave an answer unread.
    pub idle_timeout: Duration,
    /// How long requests and sockets have to finish once everything stops.
    pub drain_timeout: Duration,
}

impl ServeSettings {
    /// What the limits say, and how long everything has to finish.
    pub fn new(limits: &Limits, trusted_proxies: TrustedProxies, drain_timeout: Duration) -> Self {
        let drained = limits.max_body_bytes.saturating_mul(DRAINED);
        Self {
            max_connections: limits.max_connections,
            max_connections_per_address: limits.max_connections_per_address,
            trusted_proxies,
            max_drained_bytes: u64::try_from(drained).unwrap_or(u64::MAX),
            request_timeout: limits.request_timeout,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            drain_timeout,
        }
    }
}

/// A listener for [`serve`].
///
/// # Errors
///
/// When the address cannot be listened on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    // Connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves a router until it is told to stop: then no connection is accepted any more, requests under way are
/// answered, sockets are closed with a code, and what has not finished in time is cut.
pub async fn serve(listener: TcpListener, router: Router, settings: ServeSettings, stop: Stop) {
    let settings = Arc::new(settings);
    let youth = settings.header_timeout / NEW;
    let counted = Connections::new(settings.max_connections, settings.max_connections_per_address, youth);
    let refusals = Arc::new(Semaphore::new(MOST_REFUSALS));
    let mut connections = JoinSet::new();
    let accepted = async {
        let mut pause = Duration::from_millis(5);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    pause = Duration::from_millis(5);
                    if let Some(place) = place(&counted, peer, &settings.trusted_proxies).await {
                        let router = router.clone();
                        connections.spawn(connection(
                            stream,
                            peer,
                            place,
                            router,
                            settings.clone(),
                            stop.clone(),
                        ));
                    } else if let Ok(permit) = refusals.clone().try_acquire_owned() {
                        connections.spawn(async move {
                            // A client that does not read has been refused all the same.
                            let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refuse(stream)).await;
                            drop(permit);
                        });
                    }
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

/// A place for a connection, as soon as there is one; `None` if its client has too many requests under way.
async fn place(counted: &Connections, peer: SocketAddr, trusted: &TrustedProxies) -> Option<Arc<Place>> {
    let holder = holder(peer, trusted);
    loop {
        let changed = counted.changed();
        match counted.enter(holder) {
            Ok(place) => return Some(Arc::new(place)),
            Err(NoPlace::FullForHolder) => return None,
            Err(NoPlace::Full) => changed.await,
        }
    }
}

/// Holder whose limit a connection counts against while it has no request.
fn holder(peer: SocketAddr, trusted: &TrustedProxies) -> Holder {
    if trusted.trust(peer.ip()) { Holder::Proxy } else { Holder::Client(subscriber(peer.ip())) }
}

async fn refuse(mut stream: TcpStream) -> io::Result<()> {
    metrics::counter!("jppd_http_connections_refused_total").increment(1);
    stream.write_all(REFUSAL).await?;
    stream.shutdown().await?;
    // Bytes that the client has already sent are read: a close with unread bytes would reset the connection, and the
    // client could lose the answer.
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
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
    place: Arc<Place>,
    router: Router,
    settings: Arc<ServeSettings>,
    stop: Stop,
) {
    let _work = stop.work();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "a connection has gone");
        return;
    }
    let course = Arc::new(Course::default());
    let stream = Stream::new(stream, course.clone(), settings.header_timeout, settings.idle_timeout);
    let (idle_timeout, header_timeout) = (settings.idle_timeout, settings.header_timeout);
    let service = service_fn({
        let place = place.clone();
        move |request: Request<Incoming>| {
            course.request_began();
            answered(request, peer, router.clone(), course.clone(), place.clone(), settings.clone())
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout.max(header_timeout))
        .max_buf_size(MOST_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = place.closed() => {
            tracing::debug!(%peer, "a connection is closed to make room for another one");
            Ok(())
        }
        () = stop.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    place.leave();
    if let Err(error) = result {
        tracing::debug!(%error, %peer, "a connection ended early");
    }
}

/// Answers one request, once its body has been read to its end.
async fn answered(
    request: Request<Incoming>,
    peer: SocketAddr,
    router: Router,
    course: Arc<Course>,
    place: Arc<Place>,
    settings: Arc<ServeSettings>,
) -> Result<Response<Body>, Infallible> {
    let deadline = Instant::now() + settings.request_timeout;
    let waits_for_a_word = request.headers().contains_key(EXPECT);
    let (parts, body) = request.into_parts();
    let inbound = Inbound::new(body, settings.header_timeout, place.clone());
    let mut request = Request::from_parts(parts, Body::new(inbound.clone()));
    request.extensions_mut().insert(Peer(peer.ip()));
    request.extensions_mut().insert(place.clone());
    let answer = match router.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Bytes that follow the upgrade belong to the WebSocket, not to a head.
        course.upgraded();
        return Ok(answer);
    }
    if !(waits_for_a_word && inbound.was_never_asked_for()) {
        inbound.drain(settings.max_drained_bytes, deadline).await;
    }
    course.request_ended();
    if settings.trusted_proxies.trust(peer.ip()) {
        // Without a limit there is always a place.
        let _ = place.belongs_to(Holder::Proxy);
    }
    place.rests();
    Ok(answer)
}
