//! One HTTP connection to the node, with one deadline for a whole call.
//!
//! What it promises, and why it exists: a request is written at most once unless the node provably did not execute
//! it, or it is a read. Every failure says which of the two it is, "nothing was delivered" or "no answer came".

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoincore_rpc::jsonrpc;
use chrono::DateTime;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::clock::{NodeClock, running};
use super::credentials::Secret;
use super::error::{StartError, is_exhausted};

/// The node closes a connection that was idle for 30 s; one that was idle for longer than this is not used again,
/// whoever holds it.
const IDLE_LIMIT: Duration = Duration::from_secs(20);

/// The largest head of a reply, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;

/// How much is read at once, in bytes.
const CHUNK: usize = 256 * 1024;

/// The only call that is not a read.
pub(super) const SEND_METHOD: &str = "sendrawtransaction";

/// Where the node listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: String,
    port: u16,
    path: String,
}

impl Address {
    /// Reads `http://host:port`, `host:port`, each with an optional path.
    pub(super) fn parse(url: &str) -> Result<Self, StartError> {
        let rest = match url.split_once("://") {
            None => url,
            Some(("http", rest)) => rest,
            Some(_) => return Err(StartError::Url("the node speaks plain http only")),
        };
        let (place, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if place.contains('@') {
            return Err(StartError::Url("credentials do not belong into the address"));
        }
        let (host, port) = place.rsplit_once(':').ok_or(StartError::Url("the port is missing"))?;
        let port = port.parse().map_err(|_| StartError::Url("the port is not a number"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || !plain(host) || !plain(path) {
            return Err(StartError::Url("the host is not a name or an address"));
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How an exchange failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    /// The node has not got a whole request.
    #[error("the request was not delivered")]
    NotDelivered,
    /// The operating system gives no connection: this process has no files or ports left.
    #[error("no files or ports are left for a connection")]
    Exhausted,
    /// It has, and the deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// It has, and the connection ended.
    #[error("the connection ended before the answer")]
    NoAnswer,
    /// The reply has no JSON in it.
    #[error("HTTP {status}: {text}")]
    Status {
        /// HTTP's word for it.
        status: u16,
        /// How the body begins.
        text: String,
    },
    /// The reply is longer than we are willing to hold.
    #[error("the reply is too large")]
    TooLarge,
    /// The reply is not HTTP as the node speaks it.
    #[error("the reply is not HTTP")]
    Garbled,
}

/// The transport under a `jsonrpc` client: HTTP/1.1, keep-alive, one request at a time.
pub(super) struct HttpTransport {
    address: Address,
    authorization: Secret,
    timeout: Duration,
    reply_limit: usize,
    clock: Arc<NodeClock>,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    stream: TcpStream,
    since: Instant,
}

struct HttpReply {
    status: u16,
    body: Vec<u8>,
    keep: bool,
}

/// Whether anything of a reply arrived before it failed.
struct Lost {
    error: TransportError,
    silent: bool,
}

impl HttpTransport {
    pub(super) fn new(
        address: Address,
        authorization: Secret,
        timeout: Duration,
        reply_limit: usize,
        clock: Arc<NodeClock>,
    ) -> Self {
        Self { address, authorization, timeout, reply_limit, clock, idle: Mutex::new(None) }
    }

    fn call<R: DeserializeOwned>(
        &self,
        request: &impl serde::Serialize,
        read_only: bool,
    ) -> Result<R, jsonrpc::Error> {
        let body = serde_json::to_vec(request).map_err(jsonrpc::Error::Json)?;
        let reply =
            self.exchange(&body, read_only).map_err(|error| jsonrpc::Error::Transport(Box::new(error)))?;
        // The node answers errors with a status of 400, 404 or 500 *and* a JSON body, which says more.
        serde_json::from_slice(&reply.body).map_err(|error| {
            if reply.status == 200 {
                return jsonrpc::Error::Json(error);
            }
            let begin = reply.body.get(..reply.body.len().min(256)).unwrap_or_default();
            let text = String::from_utf8_lossy(begin).into_owned();
            jsonrpc::Error::Transport(Box::new(TransportError::Status { status: reply.status, text }))
        })
    }

    fn exchange(&self, body: &[u8], read_only: bool) -> Result<HttpReply, TransportError> {
        let deadline = Instant::now() + self.timeout;
        let request = self.request(body);
        // Held for the whole exchange: one connection carries one request at a time.
        let mut idle = self.idle.lock();
        if let Some(mut stream) = idle.take().and_then(Idle::still_alive)
            && write(&mut stream, &request, deadline).is_ok()
        {
            match self.read(&mut stream, deadline) {
                Ok(reply) => return Ok(keep(&mut idle, stream, reply)),
                // An old connection that was closed meanwhile: a read may be asked again, a broadcast may not.
                Err(lost) if lost.silent && read_only => {}
                Err(lost) => return Err(lost.error),
            }
        }
        let mut stream = self.connect(deadline)?;
        write(&mut stream, &request, deadline).map_err(|_| TransportError::NotDelivered)?;
        let reply = self.read(&mut stream, deadline).map_err(|lost| lost.error)?;
        Ok(keep(&mut idle, stream, reply))
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.address.path,
            self.address,
            self.authorization.expose(),
            body.len(),
        );
        [head.as_bytes(), body].concat()
    }

    fn connect(&self, deadline: Instant) -> Result<TcpStream, TransportError> {
        let places = (self.address.host.as_str(), self.address.port)
            .to_socket_addrs()
            .map_err(|error| not_connected(&error))?;
        let mut failure = TransportError::NotDelivered;
        for place in places {
            match TcpStream::connect_timeout(&place, remaining(deadline)) {
                Ok(stream) => {
                    // Without it the second of two small writes waits for an acknowledgement of the first.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failure = not_connected(&error),
            }
        }
        Err(failure)
    }

    fn read(&self, stream: &mut TcpStream, deadline: Instant) -> Result<HttpReply, Lost> {
        let mut buffer = Vec::with_capacity(4096);
        let asked = running();
        let head_end = loop {
            if let Some(at) = find_head_end(&buffer) {
                break at;
            }
            if buffer.len() > HEAD_LIMIT {
                return Err(Lost { error: TransportError::Garbled, silent: false });
            }
            let silent = buffer.is_empty();
            match fill(stream, &mut buffer, 4096, deadline) {
                Ok(0) => return Err(Lost { error: TransportError::NoAnswer, silent }),
                Ok(_) => {}
                Err(error) => {
                    let timeout = matches!(error, TransportError::Timeout);
                    return Err(Lost { error, silent: silent && !timeout });
                }
            }
        };
        let came = running();
        self.read_body(stream, buffer, head_end, deadline, (asked, came))
            .map_err(|error| Lost { error, silent: false })
    }

    fn read_body(
        &self,
        stream: &mut TcpStream,
        mut buffer: Vec<u8>,
        head_end: usize,
        deadline: Instant,
        (asked, came): (Duration, Duration),
    ) -> Result<HttpReply, TransportError> {
        let mut body = buffer.split_off(head_end);
        let head = Head::parse(&buffer)?;
        if let Some(date_s) = head.date_s {
            self.clock.note(date_s, asked, came);
        }
        let length = head.length.unwrap_or(usize::MAX);
        if head.length.is_some_and(|length| length > self.reply_limit) {
            return Err(TransportError::TooLarge);
        }
        if let Some(length) = head.length {
            // A block comes as twice its size; growing by doubling would take as much again.
            body.reserve_exact(length.saturating_sub(body.len()).saturating_add(CHUNK));
        }
        while body.len() < length {
            let wanted = length.saturating_sub(body.len()).min(CHUNK);
            match fill(stream, &mut body, wanted, deadline)? {
                // Without a length the end of the connection is the end of the body.
                0 if head.length.is_none() => break,
                0 => return Err(TransportError::NoAnswer),
                _ => {}
            }
            if body.len() > self.reply_limit {
                return Err(TransportError::TooLarge);
            }
        }
        // More than was announced: the connection is out of step.
        let keep = head.keep && head.length == Some(body.len());
        body.truncate(length);
        Ok(HttpReply { status: head.status, body, keep })
    }
}

impl jsonrpc::Transport for HttpTransport {
    fn send_request(&self, request: jsonrpc::Request<'_>) -> Result<jsonrpc::Response, jsonrpc::Error> {
        self.call(&request, request.method != SEND_METHOD)
    }

    fn send_batch(
        &self,
        requests: &[jsonrpc::Request<'_>],
    ) -> Result<Vec<jsonrpc::Response>, jsonrpc::Error> {
        self.call(&requests, requests.iter().all(|request| request.method != SEND_METHOD))
    }

    fn fmt_target(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.address, self.address.path)
    }
}

impl Idle {
    /// The stream, unless it is old, was closed by the node, or holds bytes nobody asked for.
    fn still_alive(self) -> Option<TcpStream> {
        if self.since.elapsed() > IDLE_LIMIT {
            return None;
        }
        self.stream.set_nonblocking(true).ok()?;
        let waiting = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).ok()?;
        waiting.is_err_and(|error| error.kind() == ErrorKind::WouldBlock).then_some(self.stream)
    }
}

fn keep(idle: &mut Option<Idle>, stream: TcpStream, reply: HttpReply) -> HttpReply {
    *idle = reply.keep.then(|| Idle { stream, since: Instant::now() });
    reply
}

/// The meaning of an error of a connection that was never made.
fn not_connected(error: &io::Error) -> TransportError {
    if is_exhausted(error) { TransportError::Exhausted } else { TransportError::NotDelivered }
}

/// Writes all of it. An error means that the node cannot have got all of it.
fn write(stream: &mut TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(remaining(deadline)))?;
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            // The loop looks at the deadline again.
            Err(error) if passing(error.kind()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads at most `most` bytes behind what is there; 0 is the end of the stream.
fn fill(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    most: usize,
    deadline: Instant,
) -> Result<usize, TransportError> {
    let before = buffer.len();
    buffer.resize(before.saturating_add(most), 0);
    let result = read_some(stream, buffer.get_mut(before..).unwrap_or_default(), deadline);
    buffer.truncate(before.saturating_add(*result.as_ref().unwrap_or(&0)));
    result
}

fn read_some(stream: &mut TcpStream, room: &mut [u8], deadline: Instant) -> Result<usize, TransportError> {
    loop {
        if Instant::now() >= deadline {
            return Err(TransportError::Timeout);
        }
        stream.set_read_timeout(Some(remaining(deadline))).map_err(|_| TransportError::NoAnswer)?;
        match stream.read(room) {
            Ok(read) => return Ok(read),
            // The loop looks at the deadline again.
            Err(error) if passing(error.kind()) => {}
            Err(_) => return Err(TransportError::NoAnswer),
        }
    }
}

/// What a socket with a time-out says when it passes, or when a signal of the system interrupts it.
fn passing(kind: ErrorKind) -> bool {
    [ErrorKind::Interrupted, ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&kind)
}

/// Never zero, which the operating system would take for "no limit".
fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}

fn find_head_end(buffer: &[u8]) -> Option<usize> {
    buffer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at.saturating_add(4))
}

struct Head {
    status: u16,
    length: Option<usize>,
    keep: bool,
    /// When it was answered, by the node's clock, in seconds since 1970.
    date_s: Option<u64>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Result<Self, TransportError> {
        let text = std::str::from_utf8(bytes).map_err(|_| TransportError::Garbled)?;
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let (version, rest) = status_line.split_once(' ').ok_or(TransportError::Garbled)?;
        if !version.starts_with("HTTP/1.") {
            return Err(TransportError::Garbled);
        }
        let status = rest.get(..3).and_then(|digits| digits.parse().ok()).ok_or(TransportError::Garbled)?;
        let mut head = Self { status, length: None, keep: version == "HTTP/1.1", date_s: None };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.parse().map_err(|_| TransportError::Garbled)?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                // The node never does.
                return Err(TransportError::Garbled);
            } else if name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close") {
                head.keep = false;
            } else if name.eq_ignore_ascii_case("date") {
                let date = DateTime::parse_from_rfc2822(value).ok();
                head.date_s = date.and_then(|date| u64::try_from(date.timestamp()).ok());
            }
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let parse = |url| Address::parse(url).map(|address| (address.to_string(), address.path)).ok();
        assert_eq!(parse("http://127.0.0.1:8332"), Some(("127.0.0.1:8332".into(), "/".into())));
        assert_eq!(parse("node:8332/wallet/a"), Some(("node:8332".into(), "/wallet/a".into())));
        assert_eq!(parse("http://[::1]:8332/"), Some(("[::1]:8332".into(), "/".into())));
        for url in [
            "https://127.0.0.1:8332",
            "127.0.0.1",
            "127.0.0.1:port",
            "127.0.0.1:99999",
            ":8332",
            "a:b@127.0.0.1:8332",
            "a b:8332",
            "a:8332/\r\nx",
            "",
        ] {
            assert_eq!(parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_head_is_read_without_trust() {
        let head = Head::parse(
            b"HTTP/1.1 500 Internal Server Error\r\ncontent-LENGTH: 12\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.status, head.length, head.keep), (500, Some(12), false));
        assert_eq!(head.date_s, None);
        for (date, date_s) in [("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)), ("today", None)] {
            let head = Head::parse(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(head.date_s, date_s, "{date}");
        }
        let bad: [&[u8]; 7] = [
            b"\r\n\r\n",
            b"HTTP/2 200\r\n\r\n",
            b"HTTP/1.1 2\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\xff\xff \r\n\r\n",
        ];
        for bytes in bad {
            assert!(Head::parse(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
