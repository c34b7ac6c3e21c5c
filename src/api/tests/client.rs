//! A client that says exactly what it is told to.

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Server;

/// An answer, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
    /// The same, where it is no text.
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(text: &str) -> Self {
        Self::parse_bytes(text.as_bytes())
    }

    fn parse_bytes(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(answer)));
        let (head, bytes) = (std::str::from_utf8(&answer[..end]).unwrap(), answer[end + 4..].to_vec());
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap_or((line.trim_end_matches(':'), ""));
                (name.to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        Self { status, headers, body: String::from_utf8_lossy(&bytes).into_owned(), bytes }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} comes twice");
        value
    }

    pub(super) fn json(&self) -> Value {
        let json = self.header("content-type").is_some_and(|value| value.starts_with("application/json"));
        assert!(json, "not JSON: {self:?}");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body of an answer that must have this status.
    pub(super) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        self.json()
    }
}

impl Server {
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes on a connection of their own, and reads until its end.
    pub(super) async fn send(&self, bytes: &[u8]) -> String {
        String::from_utf8(self.send_bytes(bytes).await).unwrap()
    }

    async fn send_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        answer
    }

    pub(super) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        Answer::parse_bytes(&self.send_bytes(&[head.as_bytes(), body].concat()).await)
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], b"").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, &[], body).await
    }

    pub(super) async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.call("POST", path, &headers, body.to_string().as_bytes()).await
    }

    /// Creates an invoice, and gives its id.
    pub(super) async fn create(&self, body: &Value) -> String {
        let created = self.post("/jpp/invoices/", body).await.expect(201);
        created["payment_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn invoice(&self, id: &str) -> Value {
        self.get(&format!("/jpp/invoices/{id}/")).await.expect(200)
    }
}

/// The header that shows a key.
pub(super) fn bearer(key: &str) -> (&'static str, String) {
    ("Authorization", format!("Bearer {key}"))
}
