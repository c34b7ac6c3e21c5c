//! The HTTP side: an accept loop on hyper, and the transport rules of the node's server.
//!
//! Who is refused when is part of what a client has to cope with, so the order is the node's: a path nobody serves,
//! then a full work queue, then the HTTP method, then the password, then the request itself.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::rpc::{self, Reply};
use super::{Phase, Shared};

/// What a wrong password costs, against guessing.
const WRONG_PASSWORD: Duration = Duration::from_millis(250);
/// The type of everything that is not JSON.
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=ISO-8859-1");
/// What the node says while it goes down.
const GOING_DOWN: &str = "<HTML><HEAD>\n<TITLE>503 Service Unavailable</TITLE>\n</HEAD><BODY>\n\
                          <H1>Service Unavailable</H1>\n</BODY></HTML>\n";

/// What the accept loop can be told. The sender of a change hears when it is done.
pub(super) enum Command {
    /// Close the port and every connection.
    Refuse(SyncSender<()>),
    /// Open the port again.
    Accept(SyncSender<io::Result<()>>),
    /// End the server.
    Quit,
}

/// What one server's connections share.
struct Server {
    node: Arc<Shared>,
    /// `user:password`, as it comes in the header.
    credentials: String,
    /// Calls being worked on, at most as many as the node has RPC threads.
    workers: Semaphore,
    /// Calls being worked on or waiting.
    in_flight: AtomicUsize,
}

/// Serves `listener` until [`Command::Quit`].
pub(super) async fn serve(
    node: Arc<Shared>,
    listener: StdListener,
    secret: &str,
    mut commands: mpsc::Receiver<Command>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        credentials: format!("Basic {}", STANDARD.encode(secret)),
        workers: Semaphore::new(node.options.rpc_threads),
        in_flight: AtomicUsize::new(0),
        node,
    });
    let mut listener = Some(TcpListener::from_std(listener)?);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(listener.as_ref()) => {
                if let Ok(stream) = accepted {
                    connections.spawn(connection(Arc::clone(&server), stream));
                }
            }
            Some(_) = connections.join_next() => {}
            command = commands.recv() => match command {
                Some(Command::Refuse(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    // Whoever asked may have gone.
                    let _ = done.try_send(());
                }
                Some(Command::Accept(done)) => {
                    let bound = match listener {
                        Some(_) => Ok(()),
                        None => TcpListener::bind(address).await.map(|new| listener = Some(new)),
                    };
                    let _ = done.try_send(bound);
                }
                Some(Command::Quit) | None => return Ok(()),
            },
        }
    }
}

/// The next connection; never, while the port is closed.
async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

/// Serves one connection to its end.
async fn connection(server: Arc<Server>, stream: TcpStream) {
    let idle = server.node.options.idle;
    let reset = Notify::new();
    let service = service_fn(|request| {
        let (server, reset) = (&server, &reset);
        async move {
            match answer(server, request).await {
                Some(mut response) => {
                    response.headers_mut().insert(DATE, server.node.options.clock.date());
                    Ok::<_, Infallible>(response)
                }
                None => {
                    reset.notify_one();
                    std::future::pending().await
                }
            }
        }
    });
    // Small answers must not wait for the client's acknowledgement; where the kernel cannot do that, they do.
    let _ = stream.set_nodelay(true);
    let mut served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // What goes wrong on the client's side is the client's business.
        _ = &mut served => {}
        () = reset.notified() => {
            let _ = served.into_parts().io.into_inner().set_zero_linger();
        }
    }
}

/// The answer to one request; `None` where the connection is to be reset instead.
async fn answer(server: &Server, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
    let node = &server.node;
    if node.phase() == Phase::Stopping {
        return Some(text(StatusCode::SERVICE_UNAVAILABLE, GOING_DOWN));
    }
    if request.uri() != "/" {
        return Some(text(StatusCode::NOT_FOUND, ""));
    }
    let Some(_slot) = Slot::take(server).filter(|_| !node.faults.is_queue_full()) else {
        return Some(text(StatusCode::INTERNAL_SERVER_ERROR, "Work queue depth exceeded"));
    };
    // Never closed while the server lives.
    let _worker = server.workers.acquire().await.ok()?;
    if request.method() != Method::POST {
        return Some(text(StatusCode::METHOD_NOT_ALLOWED, "JSONRPC server handles only POST requests"));
    }
    let given = request.headers().get(AUTHORIZATION);
    if given.is_none_or(|given| given.as_bytes() != server.credentials.as_bytes()) {
        if given.is_some() {
            tokio::time::sleep(WRONG_PASSWORD).await;
        }
        let mut refusal = text(StatusCode::UNAUTHORIZED, "");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"jsonrpc\""));
        return Some(refusal);
    }
    let body = request.into_body().collect().await.ok()?.to_bytes();
    match rpc::answer(node, &body).await {
        Reply::Json(status, json) => {
            Some(response(status, HeaderValue::from_static("application/json"), json))
        }
        Reply::Text(status, body) => Some(text(status, body)),
        Reply::Reset => None,
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    response(status, HTML, body)
}

fn response(status: StatusCode, kind: HeaderValue, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// One place in the work queue.
struct Slot<'a>(&'a AtomicUsize);

impl<'a> Slot<'a> {
    fn take(server: &'a Server) -> Option<Self> {
        let limit = server.node.options.rpc_threads + server.node.options.rpc_queue;
        let taken = server
            .in_flight
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |count| (count < limit).then_some(count + 1));
        taken.ok().map(|_| Self(&server.in_flight))
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
