//! A node of a few lines: every coin it is asked for is there, and what is sent is answered as a test wants.

use std::{
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;

/// What it answers to a transaction, if not that it has it now.
pub(super) type Refusal = Option<(i32, &'static str)>;

pub(super) struct Node {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    refusal: Mutex<Refusal>,
    /// The value of every coin, in BCH.
    coin: Mutex<String>,
    sent: Mutex<Vec<String>>,
}

impl Node {
    pub(super) fn start(coin: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        coin.clone_into(&mut shared.coin.lock());
        let node = Self { address, shared: shared.clone() };
        // It ends with the test.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        node
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        *self.shared.refusal.lock() = refusal;
    }

    pub(super) fn sent(&self) -> Vec<String> {
        self.shared.sent.lock().clone()
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or_default() == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let calls: Value = serde_json::from_slice(&body).unwrap();
        let answer = match calls.as_array() {
            Some(calls) => {
                let answers: Vec<_> = calls.iter().map(|call| one(call, shared)).collect();
                format!("[{}]", answers.join(","))
            }
            None => one(&calls, shared),
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        stream.write_all(format!("{head}{answer}").as_bytes()).unwrap();
    }
}

fn one(call: &Value, shared: &Shared) -> String {
    let (result, error) = match call["method"].as_str().unwrap() {
        "gettxout" => {
            let value = shared.coin.lock().clone();
            let script = format!("76a914{}88ac", "99".repeat(20));
            let coin = format!(
                r#"{{"value":{value},"scriptPubKey":{{"hex":"{script}"}},"confirmations":1,"coinbase":false}}"#
            );
            (coin, "null".to_owned())
        }
        "sendrawtransaction" => match *shared.refusal.lock() {
            None => {
                let raw = call["params"][0].as_str().unwrap();
                shared.sent.lock().push(raw.to_owned());
                let transaction = crate::bch::Transaction::decode(hex::decode(raw).unwrap().into()).unwrap();
                (format!("\"{}\"", transaction.txid()), "null".to_owned())
            }
            Some((code, message)) => {
                ("null".to_owned(), format!(r#"{{"code":{code},"message":"{message}"}}"#))
            }
        },
        "getmempoolinfo" => {
            let info = r#"{"loaded":true,"mempoolminfee":0.00001000,"minrelaytxfee":0.00001000}"#;
            (info.to_owned(), "null".to_owned())
        }
        "getmempoolentry" => {
            ("null".to_owned(), r#"{"code":-5,"message":"Transaction not in mempool"}"#.to_owned())
        }
        other => ("null".to_owned(), format!(r#"{{"code":-32601,"message":"{other}"}}"#)),
    };
    format!(r#"{{"result":{result},"error":{error},"id":{}}}"#, call["id"])
}
