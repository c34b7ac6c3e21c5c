//! A small HTTP and WebSocket client for one server on loopback.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

use crate::wait::PATIENCE;

pub use tokio_tungstenite::tungstenite::Message;

/// A client of one server on loopback: a connection a request, as `curl` has it.
#[derive(Clone, Debug)]
pub struct Client {
    port: u16,
    headers: Vec<(String, String)>,
}

/// An answer, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the body is in the message.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("not JSON ({}): {}", self.status, self.body))
    }

    /// The body as JSON, if the answer has this status.
    ///
    /// # Errors
    /// When it has another; the answer is in the message.
    pub fn expect(&self, status: u16) -> Result<Value> {
        if self.status != status {
            bail!("status {} instead of {status}: {}", self.status, self.body);
        }
        self.json()
    }
}

impl Client {
    /// A client of a port.
    pub fn new(port: u16) -> Self {
        Self { port, headers: Vec::new() }
    }

    /// The same client with one more header on every request.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    /// `POST path` with a body of any text, said to be JSON.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post_text(&self, path: &str, body: &str) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_owned())).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        self.connect().await?.send(method, path, body).await
    }

    /// Opens a connection that is kept for many requests.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn connect(&self) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            // How it ended is told to whoever waits for an answer.
            let _ = connection.await;
        });
        Ok(Connection { client: self.clone(), sender, driver })
    }

    /// Opens the WebSocket of an invoice for every event after the number `since`, and takes its `hello`.
    ///
    /// # Errors
    /// When the server refuses the upgrade, or begins with another message.
    pub async fn events(&self, id: &str, since: u64) -> Result<Socket> {
        let mut socket = self.socket(&format!("/ws/jpp/invoice/{id}/?since={since}")).await?;
        let hello = socket.next().await?;
        ensure!(hello["type"] == "hello" && hello["log"].is_string(), "not a hello: {hello}");
        ensure!(hello["last"].as_u64().is_some_and(|last| last >= since), "behind {since}: {hello}");
        Ok(socket)
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// When the server refuses the upgrade; its status is in the message.
    pub async fn socket(&self, path: &str) -> Result<Socket> {
        let url = format!("ws://127.0.0.1:{}{path}", self.port);
        match tokio_tungstenite::connect_async(url).await {
            Ok((stream, _)) => Ok(Socket { stream }),
            Err(tungstenite::Error::Http(answer)) => bail!("the upgrade was refused: {}", answer.status()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A connection that is kept for many requests, one after the other.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&mut self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::POST, path, Some(body.to_string())).await
    }

    async fn send(&mut self, method: Method, path: &str, body: Option<String>) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", format!("127.0.0.1:{}", self.client.port));
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &self.client.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())))?;
        let answer = tokio::time::timeout(PATIENCE, self.sender.send_request(request)).await??;
        let status = answer.status().as_u16();
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers =
            answer.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    /// The next JSON message; pings are answered on the way.
    ///
    /// # Errors
    /// When none comes within [`PATIENCE`], or the socket is closed; code and reason are in the message.
    pub async fn next(&mut self) -> Result<Value> {
        self.next_within(PATIENCE).await
    }

    /// The next JSON message, if it comes in this time.
    ///
    /// # Errors
    /// As [`Socket::next`].
    pub async fn next_within(&mut self, time: Duration) -> Result<Value> {
        loop {
            match tokio::time::timeout(time, self.stream.next()).await.context("no message in time")? {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text)?),
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame
                        .map(|frame| (u16::from(frame.code), frame.reason.to_string()))
                        .unwrap_or_default();
                    bail!("closed with {code} {reason}");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(error.into()),
                None => bail!("the socket ended"),
            }
        }
    }

    /// The next message of a type; others on the way are passed over.
    ///
    /// # Errors
    /// As [`Socket::next`].
    pub async fn next_of(&mut self, kind: &str) -> Result<Value> {
        loop {
            let message = self.next().await?;
            if message.get("type").and_then(Value::as_str) == Some(kind) {
                return Ok(message);
            }
        }
    }

    /// Sends a text.
    ///
    /// # Errors
    /// When the socket is closed.
    pub async fn send(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.send(Message::text(text)).await?)
    }
}
