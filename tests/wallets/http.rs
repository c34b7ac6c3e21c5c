//! A client that sends the very bytes it is told to.
//!
//! A library for HTTP writes headers in its own order and case, and frames a body as it likes. What is tried here is
//! what a wallet's library writes, so that every byte of the head comes from the test.

use std::{fmt, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A header as it stands on the line: its name in the wallet's case, and its value.
pub(crate) type Header<'a> = (&'a str, &'a str);

/// How a body is framed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body<'a> {
    /// There is none.
    None,
    /// Its length is said before it.
    Sized(&'a [u8]),
    /// In chunks of at most so many bytes, without a length.
    Chunked(&'a [u8], usize),
}

impl Body<'_> {
    fn length(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Sized(body) | Self::Chunked(body, _) => body.len().to_string(),
        }
    }
}

/// A server on loopback.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
}

/// What came back, to the byte.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names as they came.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Server {
    /// The server that an absolute URL names, and the path in it. Wallets go where a document sends them.
    pub(crate) fn of_url(url: &str) -> Result<(Self, String)> {
        let rest =
            url.strip_prefix("http://127.0.0.1:").with_context(|| format!("not on loopback: {url}"))?;
        let (port, path) = rest.split_once('/').context("a path")?;
        Ok((Self { port: port.parse()? }, format!("/{path}")))
    }

    /// Sends a request and reads its answer. `Host` and `Content-Length` are filled in where a header of that name has no
    /// value; else `Host` comes first, and what frames the body last.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[Header<'_>],
        body: Body<'_>,
    ) -> Result<Answer> {
        let (host, length) = (format!("127.0.0.1:{}", self.port), body.length());
        let stands = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !stands("host") {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in headers {
            let value = match (name.to_ascii_lowercase().as_str(), *value) {
                ("host", "") => &host,
                ("content-length", "") => &length,
                (_, value) => value,
            };
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = Vec::new();
        match body {
            Body::None => {}
            Body::Sized(body) => {
                if !stands("content-length") {
                    head.push_str(&format!("Content-Length: {length}\r\n"));
                }
                bytes.extend(body);
            }
            Body::Chunked(body, size) => {
                head.push_str("Transfer-Encoding: chunked\r\n");
                for chunk in body.chunks(size) {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                    bytes.extend(chunk);
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
        head.push_str("\r\n");
        let all = [head.as_bytes(), &bytes].concat();
        let answer = tokio::time::timeout(Duration::from_secs(60), self.exchange(&all)).await;
        answer.context("no answer in time")?.with_context(|| format!("{method} {path}"))
    }

    async fn exchange(&self, request: &[u8]) -> Result<Answer> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request).await?;
        let mut received = Vec::new();
        let head = loop {
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            ensure!(stream.read_buf(&mut received).await? > 0, "the connection was closed before an answer");
        };
        let mut body = received.split_off(head + 4);
        let mut answer = Answer::of_head(std::str::from_utf8(&received)?)?;
        let length: usize = answer.header("content-length")?.context("a length")?.parse()?;
        while body.len() < length {
            ensure!(stream.read_buf(&mut body).await? > 0, "the body broke off");
        }
        ensure!(body.len() == length, "the body is longer than was said");
        answer.body = body;
        Ok(answer)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body } = self;
        write!(f, "{status} {headers:?} {}", String::from_utf8_lossy(body))
    }
}

impl Answer {
    fn of_head(head: &str) -> Result<Self> {
        let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
        let status = lines.next().context("a status line")?;
        let status =
            status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).context(head.to_owned())?;
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").with_context(|| format!("a header: {line}"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        Ok(Self {
            status: status.parse()?,
            headers: lines.map(header).collect::<Result<_>>()?,
            body: Vec::new(),
        })
    }

    /// The value of a header that comes at most once.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>> {
        let mut values = self.headers.iter().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        ensure!(values.next().is_none(), "{name} comes twice");
        Ok(value)
    }

    /// The value of a header that must be there.
    pub(crate) fn has(&self, name: &str) -> Result<&str> {
        self.header(name)?.with_context(|| format!("no {name} in {self:?}"))
    }

    /// What a wallet that asks for exactly 200 makes of it: the body as JSON.
    pub(crate) fn ok(&self) -> Result<Value> {
        self.expect(200)?;
        let content_type = self.has("content-type")?;
        ensure!(content_type == "application/json; charset=utf-8", "{content_type}");
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The body as text, if it has this status.
    pub(crate) fn expect(&self, status: u16) -> Result<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        if self.status != status {
            bail!("status {} instead of {status}: {text}", self.status);
        }
        Ok(text)
    }
}
