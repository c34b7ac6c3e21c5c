//! The node in the machine: its user, its unit, its settings.

use std::{io, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use regtest::{Bchn, Node, RpcFailure};
use serde_json::{Value, json};

use crate::{machine::Machine, page::Page, until};

/// How jppd logs in at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// By the cookie, which the group `bitcoin` may read.
    Cookie,
    /// By a user of its own with a password.
    Password,
}

/// The node program, outside of the machine.
#[derive(Clone, Debug)]
pub(crate) enum Program {
    StandIn(PathBuf),
    /// `bitcoind`, with `bitcoin-cli` beside it if a test needs that.
    Bitcoind(PathBuf),
}

/// The password of the user that jppd has at the node, and the node's line for it: the HMAC-SHA256 of the password with
/// the salt before the `$`, as `share/rpcauth` prints it.
const PASSWORD: &str = "a password for a private chain";
const RPCAUTH: &str =
    "rpcauth=jppd:6a707064$289a2901c8457fb66cd2044cc1c7b0e682aef7f5db07667e16bb504fde8aed8e";

/// An address without a known key: the hash is 20 times 0xee.
const BURNED: &str = "bchreg:qrhwamhwamhwamhwamhwamhwamhwamhwac6gdl3mks";

/// Another one: 20 times 0xdd.
pub(crate) const UNPAID: &str = "bchreg:qrwamhwamhwamhwamhwamhwamhwamhwam5q3wu9fgq";

/// The cookie file of either node.
const COOKIE: &str = "/var/lib/bitcoind/regtest/.cookie";

impl Program {
    /// The real node, if this computer has one.
    pub(crate) fn bitcoind() -> Option<Self> {
        Bchn::find().map(Self::Bitcoind)
    }

    /// Makes the node's user and unit, and starts it. Its chain has one block, without which it would say that it is
    /// still downloading the chain.
    pub(crate) fn install(&self, machine: &Machine, page: &Page, login: Login) -> Result<()> {
        machine.sh("useradd --system --home-dir /var/lib/bitcoind --shell /usr/sbin/nologin bitcoin")?;
        let start = match self {
            Self::StandIn(program) => {
                machine.copy(program, "/usr/local/bin/stand-in")?;
                "/usr/local/bin/stand-in --datadir /var/lib/bitcoind --sysperms"
            }
            Self::Bitcoind(program) => {
                machine.copy_program(program, "/usr/local/bin/bitcoind")?;
                let client = program.with_file_name("bitcoin-cli");
                ensure!(client.is_file(), "there is no bitcoin-cli beside {}", program.display());
                machine.copy_program(&client, "/usr/local/bin/bitcoin-cli")?;
                machine.write("/etc/bitcoin.conf", &configuration(page, login)?)?;
                "/usr/local/bin/bitcoind -conf=/etc/bitcoin.conf -datadir=/var/lib/bitcoind -printtoconsole=0"
            }
        };
        machine.write(
            "/etc/systemd/system/bitcoind.service",
            &format!(
                "[Unit]\nDescription=A node on a private chain\n\n[Service]\nUser=bitcoin\nGroup=bitcoin\n\
                 UMask=0027\nStateDirectory=bitcoind\nStateDirectoryMode=0750\nTimeoutStopSec=60\n\
                 ExecStart={start}\n"
            ),
        )?;
        machine.sh("systemctl daemon-reload && systemctl start bitcoind")?;
        if matches!(self, Self::Bitcoind(_)) {
            until("the node answers", || Ok(cli(machine, "getblockcount").is_ok()))?;
            cli(machine, &format!("generatetoaddress 1 {BURNED}"))?;
        }
        Ok(())
    }
}

/// The settings of the page, and those of a private chain.
fn configuration(page: &Page, login: Login) -> Result<String> {
    let [settings] = page.blocks("The node's settings", "ini")?;
    let of_login = match login {
        Login::Cookie => "disablewallet=1\nsysperms=1\n",
        Login::Password => "",
    };
    // Without `expire=0` this release answers no call after its end.
    Ok(format!(
        "regtest=1\nexpire=0\ndnsseed=0\nlisten=0\n{RPCAUTH}\n{of_login}{settings}\n[regtest]\nconnect=0\n"
    ))
}

/// Lets jppd log in, as the page says under "How it logs in at the node". Gives the keys of the configuration for it.
pub(crate) fn let_in(
    machine: &Machine,
    page: &Page,
    login: Login,
) -> Result<Vec<(&'static str, &'static str, String)>> {
    match login {
        Login::Cookie => {
            machine.write(
                "/etc/systemd/system/jppd.service.d/override.conf",
                "[Service]\nSupplementaryGroups=bitcoin\n",
            )?;
            Ok(vec![("node", "rpc_cookie_file", format!("{COOKIE:?}"))])
        }
        Login::Password => {
            let [password] = page.blocks("How it logs in at the node", "sh")?;
            machine.sh_with(password, Some(&format!("{PASSWORD}\n")))?;
            Ok(Vec::new())
        }
    }
}

/// Runs `bitcoin-cli` as the node's user.
pub(crate) fn cli(machine: &Machine, words: &str) -> Result<String> {
    let said = machine.sh(&format!(
        "runuser -u bitcoin -- bitcoin-cli -conf=/etc/bitcoin.conf -datadir=/var/lib/bitcoind {words}"
    ))?;
    Ok(said.trim().to_owned())
}

/// The cookie of the running node.
pub(crate) fn cookie(machine: &Machine) -> Result<String> {
    machine.sh(&format!("cat {COOKIE}")).context("the cookie")
}

/// The node as seen from outside of its machine.
pub(crate) struct Inside<'m>(pub(crate) &'m Machine);

impl Node for Inside<'_> {
    fn name(&self) -> &'static str {
        "in a machine"
    }

    fn rpc_url(&self) -> String {
        "http://127.0.0.1:18443".to_owned()
    }

    fn cookie_file(&self) -> PathBuf {
        PathBuf::from(COOKIE)
    }

    fn zmq_rawtx(&self) -> String {
        "tcp://127.0.0.1:28335".to_owned()
    }

    fn zmq_hashblock(&self) -> String {
        "tcp://127.0.0.1:28336".to_owned()
    }

    fn zmq_hashds(&self) -> String {
        "tcp://127.0.0.1:28337".to_owned()
    }

    fn call(&self, method: &str, params: Value) -> Result<Value, RpcFailure> {
        let failed = |error: anyhow::Error| RpcFailure::new(RpcFailure::UNREACHABLE, format!("{error:#}"));
        let script = format!("curl -sS -m 60 -u \"$(cat {COOKIE})\" --data-binary @- {}/", self.rpc_url());
        let said = self
            .0
            .sh_with(&script, Some(&json!({"id": 1, "method": method, "params": params}).to_string()))
            .map_err(failed)?;
        let answer: Value = serde_json::from_str(&said).map_err(|error| failed(error.into()))?;
        match answer["error"]["code"].as_i64() {
            None => Ok(answer["result"].clone()),
            Some(code) => Err(RpcFailure::new(
                code.try_into().unwrap_or(RpcFailure::UNUSABLE),
                format!("{method}: {}", answer["error"]["message"]),
            )),
        }
    }

    fn stop(&self) -> io::Result<()> {
        self.0.sh("systemctl stop bitcoind").map(drop).map_err(io::Error::other)
    }

    fn kill(&self) -> io::Result<()> {
        self.0.sh("systemctl kill -s KILL bitcoind").map(drop).map_err(io::Error::other)
    }

    fn start(&self) -> io::Result<()> {
        self.0.sh("systemctl start bitcoind").map(drop).map_err(io::Error::other)
    }
}
