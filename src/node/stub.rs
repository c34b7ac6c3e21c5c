//! A few lines of HTTP that answer like a node, or as badly as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The value of the `Authorization` header.
    pub(super) authorization: String,
    /// The body.
    pub(super) body: String,
    /// The number of the connection it came on, from 0.
    pub(super) connection: usize,
}

/// What is done with a request.
pub(super) enum Answer {
    /// A whole reply.
    Http(u16, String),
    /// These bytes, and then the connection is closed.
    Raw(&'static [u8]),
    /// Nothing, for so long, and then the connection is closed.
    Hang(Duration),
}

/// The listener; it ends when it is dropped.
pub(super) struct Stub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// How many connections have ended.
    ended: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Stub {
    /// Answers every request with what the function says.
    pub(super) fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", answer)
    }

    /// The same at a given address.
    pub(super) fn start_at(place: &str, answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(place).unwrap();
        let address = listener.local_addr().unwrap();
        let stub = Self { address, seen: Arc::default(), ended: Arc::default(), over: Arc::default() };
        let (seen, answer) = (Arc::clone(&stub.seen), Arc::new(answer));
        let (ended, over) = (Arc::clone(&stub.ended), Arc::clone(&stub.over));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, answer, ended) = (Arc::clone(&seen), Arc::clone(&answer), Arc::clone(&ended));
                std::thread::spawn(move || {
                    serve(stream.unwrap(), number, &seen, &*answer);
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        stub
    }

    /// Answers every call with the JSON text, or the error, that the function gives for a method and parameters.
    pub(super) fn rpc(
        answer: impl Fn(&str, &Value) -> Result<String, (i32, &'static str)> + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |seen| Answer::Http(200, reply(&seen.body, &answer)))
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.load(Ordering::SeqCst)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

/// A reply as the node writes it, to one call or to a batch of calls.
pub(super) fn reply(
    body: &str,
    answer: impl Fn(&str, &Value) -> Result<String, (i32, &'static str)>,
) -> String {
    let one = |call: &Value| {
        let (result, error) = match answer(call["method"].as_str().unwrap(), &call["params"]) {
            Ok(result) => (RawValue::from_string(result).unwrap().to_string(), "null".to_owned()),
            Err((code, message)) => {
                ("null".into(), serde_json::json!({"code": code, "message": message}).to_string())
            }
        };
        format!(r#"{{"result":{result},"error":{error},"id":{}}}"#, call["id"])
    };
    let calls: Value = serde_json::from_str(body).unwrap();
    match calls.as_array() {
        Some(calls) => format!("[{}]\n", calls.iter().map(one).collect::<Vec<_>>().join(",")),
        None => format!("{}\n", one(&calls)),
    }
}

fn serve(stream: TcpStream, connection: usize, seen: &Mutex<Vec<Seen>>, answer: &impl Fn(&Seen) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(request) = read(&mut reader, connection) {
        seen.lock().push(request.clone());
        match answer(&request) {
            Answer::Http(status, body) => {
                let head = format!("HTTP/1.1 {status} Reason\r\nContent-Length: {}\r\n\r\n", body.len());
                if stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).is_err() {
                    return;
                }
            }
            Answer::Raw(bytes) => {
                let _ = stream.write_all(bytes);
                return;
            }
            Answer::Hang(time) => {
                std::thread::sleep(time);
                return;
            }
        }
    }
}

fn read(reader: &mut impl BufRead, connection: usize) -> Option<Seen> {
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "authorization" => value.clone_into(&mut authorization),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { authorization, body: String::from_utf8(body).unwrap(), connection })
}
