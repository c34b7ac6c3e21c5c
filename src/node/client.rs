//! One worker's client: made anew when the node has a new cookie.

use std::sync::Arc;
use std::time::Duration;

use bitcoincore_rpc::{Client, jsonrpc};

use super::call::{Reply, Request};
use super::clock::NodeClock;
use super::credentials::{Auth, Secret};
use super::error::NodeError;
use super::transport::{Address, HttpTransport};
use super::wire;

/// How a client is made.
#[derive(Clone, Debug)]
pub(super) struct Connect {
    pub(super) address: Address,
    pub(super) auth: Auth,
    pub(super) timeout: Duration,
    pub(super) reply_limit: usize,
    pub(super) clock: Arc<NodeClock>,
}

/// A client and how to make another. Each worker has its own, so no two calls share a connection.
pub(super) struct NodeClient {
    connect: Connect,
    live: Option<Live>,
}

struct Live {
    client: Client,
    secret: Secret,
}

impl NodeClient {
    pub(super) fn new(connect: Connect) -> Self {
        Self { connect, live: None }
    }

    /// Makes one call, and makes it once more with new credentials if the node has refused ours.
    ///
    /// A refused call was not executed, so this holds for broadcasts too. Credentials that have not changed are
    /// not tried twice: each refusal costs the node a quarter of a second of one of its threads.
    pub(super) fn perform(&mut self, request: &Request) -> Result<Reply, NodeError> {
        let live = match self.live.take() {
            Some(live) => live,
            None => self.make()?,
        };
        let result = wire::perform(&live.client, request);
        if result == Err(NodeError::Unauthorized) {
            let anew = self.make()?;
            if anew.secret == live.secret {
                return result;
            }
            tracing::debug!("the node has new credentials");
            let result = wire::perform(&anew.client, request);
            return self.keep(anew, result);
        }
        self.keep(live, result)
    }

    /// Closes the connection; the next call opens another.
    pub(super) fn rest(&mut self) {
        self.live = None;
    }

    fn make(&self) -> Result<Live, NodeError> {
        let Connect { address, auth, timeout, reply_limit, clock } = &self.connect;
        let secret = auth.read()?;
        let transport =
            HttpTransport::new(address.clone(), secret.clone(), *timeout, *reply_limit, clock.clone());
        Ok(Live { client: Client::from_jsonrpc(jsonrpc::Client::with_transport(transport)), secret })
    }

    fn keep(&mut self, live: Live, result: Result<Reply, NodeError>) -> Result<Reply, NodeError> {
        // A node that cannot be reached may come back with another cookie.
        if !matches!(result, Err(NodeError::Unreachable | NodeError::Unauthorized)) {
            self.live = Some(live);
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::super::stub::{Answer, Stub, reply};
    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_secret_is_logged_whatever_happens_to_it() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let folder = tempfile::tempdir().unwrap();
        let cookie = folder.path().join("cookie");
        let stub = Stub::start(|seen| {
            if seen.authorization == "Basic X19jb29raWVfXzpmcmVzaC1zZWNyZXQ=" {
                Answer::Http(200, reply(&seen.body, |_, _| Err((-1, "no"))))
            } else {
                Answer::Http(401, String::new())
            }
        });
        let connect = Connect {
            address: Address::parse(&stub.url()).unwrap(),
            auth: Auth::Cookie(cookie.clone()),
            timeout: Duration::from_secs(1),
            reply_limit: 1 << 20,
            clock: Arc::default(),
        };
        let mut client = NodeClient::new(connect.clone());
        let mut printed = format!("{connect:?}");
        tracing::subscriber::with_default(subscriber, || {
            for text in [
                "",
                "stale-secret",
                "__cookie__:stale-secret",
                "__cookie__:fresh-secret",
                "__cookie__:stale-secret",
            ] {
                std::fs::write(&cookie, text).unwrap();
                let result = client.perform(&Request::BestBlock);
                let live = client.live.as_ref().map(|live| format!("{:?} {:?}", live.client, live.secret));
                printed.push_str(&format!("{result:?} {live:?}"));
            }
        });
        printed.push_str(&String::from_utf8(log.0.lock().clone()).unwrap());
        assert!(printed.contains("the node's cookie has no colon"), "the log is captured: {printed}");
        for secret in ["secret", "X19jb29raWVf", "Basic "] {
            assert!(!printed.replace("Secret(…)", "").contains(secret), "{secret}: {printed}");
        }
    }
}
