//! A node somebody else started: in a container, or on another machine of a test network.
//!
//! It is described by environment variables, so that the same test binary can be pointed at it:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `JPPD_TEST_NODE_RPC` | `http://host:port`; without it there is no external node |
//! | `JPPD_TEST_NODE_COOKIE` | a file that holds `user:password` |
//! | `JPPD_TEST_NODE_RAWTX` | ZMQ endpoint of `rawtx`, `tcp://host:port` |
//! | `JPPD_TEST_NODE_HASHBLOCK` | ZMQ endpoint of `hashblock` |
//! | `JPPD_TEST_NODE_HASHDS` | ZMQ endpoint of `hashds` |
//! | `JPPD_TEST_NODE_CONTROL` | optional: a program called with `stop`, `kill` or `start` as its one argument |
//!
//! There is one such node for all tests: run them with `--test-threads=1`, and let no test count on an empty chain.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Node;

/// How long a started node may take until its RPC answers.
const START: Duration = Duration::from_secs(60);

/// A node named by the `JPPD_TEST_NODE_…` variables.
#[derive(Clone, Debug)]
pub struct External {
    rpc: String,
    cookie: PathBuf,
    rawtx: String,
    hashblock: String,
    hashds: String,
    control: Option<PathBuf>,
}

impl External {
    /// The external node of the environment, or `None` when `JPPD_TEST_NODE_RPC` is not set.
    ///
    /// # Errors
    /// When one of the other required variables is missing.
    pub fn from_env() -> io::Result<Option<Self>> {
        let Ok(rpc) = std::env::var("JPPD_TEST_NODE_RPC") else { return Ok(None) };
        let required = |name: &str| {
            std::env::var(name)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is not set")))
        };
        Ok(Some(Self {
            rpc,
            cookie: required("JPPD_TEST_NODE_COOKIE")?.into(),
            rawtx: required("JPPD_TEST_NODE_RAWTX")?,
            hashblock: required("JPPD_TEST_NODE_HASHBLOCK")?,
            hashds: required("JPPD_TEST_NODE_HASHDS")?,
            control: std::env::var_os("JPPD_TEST_NODE_CONTROL").map(PathBuf::from),
        }))
    }

    fn control(&self, verb: &str) -> io::Result<()> {
        let program = self.control.as_ref().ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::Unsupported,
                "no JPPD_TEST_NODE_CONTROL: this node cannot be restarted",
            )
        })?;
        let status = Command::new(program).arg(verb).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{} {verb}: {status}", program.display())))
        }
    }
}

impl Node for External {
    fn name(&self) -> &'static str {
        "external"
    }

    fn rpc_url(&self) -> String {
        self.rpc.clone()
    }

    fn cookie_file(&self) -> PathBuf {
        self.cookie.clone()
    }

    fn zmq_rawtx(&self) -> String {
        self.rawtx.clone()
    }

    fn zmq_hashblock(&self) -> String {
        self.hashblock.clone()
    }

    fn zmq_hashds(&self) -> String {
        self.hashds.clone()
    }

    fn stop(&self) -> io::Result<()> {
        self.control("stop")
    }

    fn kill(&self) -> io::Result<()> {
        self.control("kill")
    }

    fn start(&self) -> io::Result<()> {
        self.control("start")?;
        let deadline = Instant::now() + START;
        while let Err(e) = self.call("getblockcount", json!([])) {
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, e.to_string()));
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
