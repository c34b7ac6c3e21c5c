//! The walk of a new user: installed by the page, paid, then a power cut and a boot with a wrong clock.
//!
//! A machine of nspawn has its host's clock, so a wrong one is made for the two programs by libfaketime: it adds to the
//! time of day what stands in a file, and leaves the monotonic clock alone, as a wrong battery clock does.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use regtest::{Node as _, Purse, wallet::Wallet};
use serde_json::{Value, json};

use crate::{
    install::Installed,
    machine::Machine,
    node::{Inside, Login, Program, cli},
    page::Page,
    say, until,
};

const OFFSET: &str = "/etc/clock-offset";

const FAKED: &str = "[Service]
Environment=LD_PRELOAD=/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1
Environment=FAKETIME_TIMESTAMP_FILE=/etc/clock-offset FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1
";

/// How long jppd runs with the wrong clock, and how long an invoice is looked at afterwards.
const A_WHILE: Duration = Duration::from_secs(5);

/// Blocks until the first coinbase can be spent.
const MATURE: u32 = 101;

/// The amount of each invoice, in satoshis and in coins.
const SATOSHIS: u64 = 50_000;
const COINS: &str = "0.0005";

/// A wallet with coins.
enum Payer {
    /// The wallet of the node, by `bitcoin-cli`.
    Cli,
    /// A wallet of the test, where the node has none, and the wallet of the shop.
    Purse(Box<(Purse, Wallet)>),
}

impl Payer {
    fn fund(machine: &Machine, node: &Program) -> Result<Self> {
        Ok(match node {
            Program::Bitcoind(_) => {
                let miner = cli(machine, "getnewaddress")?;
                cli(machine, &format!("generatetoaddress {MATURE} {miner}"))?;
                Self::Cli
            }
            Program::StandIn(_) => {
                Self::Purse(Box::new((Purse::fund(&Inside(machine), 1)?, Wallet::from_seed(2)?)))
            }
        })
    }

    /// A new address of the shop.
    fn address(&mut self, machine: &Machine) -> Result<String> {
        match self {
            Self::Cli => cli(machine, "getnewaddress"),
            Self::Purse(wallets) => Ok(wallets.1.new_address()?),
        }
    }

    /// Pays an invoice straight to its address, and waits until jppd says so.
    fn pay(&mut self, jppd: &Installed<'_>, invoice: &Value) -> Result<()> {
        let address = invoice["outputs"][0]["address"].as_str().context("an address")?;
        match self {
            Self::Cli => drop(cli(jppd.machine, &format!("sendtoaddress {address} {COINS}"))?),
            Self::Purse(wallets) => {
                wallets.0.pay(&Inside(jppd.machine), address, SATOSHIS)?;
            }
        }
        let mut last = Value::Null;
        until("it is paid", || {
            last = jppd.invoice(invoice)?;
            Ok(last["status"] == "paid")
        })
        .with_context(|| last.to_string())
    }
}

pub(crate) fn all(machine: &mut Machine, program: &Path, node: &Program) -> Result<()> {
    let page = Page::read()?;
    let login = match node {
        Program::Bitcoind(_) => Login::Password,
        Program::StandIn(_) => Login::Cookie,
    };
    node.install(machine, &page, login)?;
    let jppd = Installed::by_the_page(machine, &page, program, login)?;
    jppd.until_ready()?;
    let mut started = Instant::now();
    let mut next_step = |machine: &Machine, what: &str| {
        say(machine, what, started);
        started = Instant::now();
    };

    // The stand-in loses its chain with its process, so nothing is paid beside it before the power cut.
    let open = if matches!(node, Program::Bitcoind(_)) {
        let mut payer = Payer::fund(machine, node)?;
        jppd.until_ready()?;
        let first = jppd.create(&payer.address(machine)?, SATOSHIS)?;
        payer.pay(&jppd, &first)?;
        next_step(machine, "walk: an invoice is paid with bitcoin-cli");
        // Writes its blocks to disk. A chain that is minutes old would be lost with the power, unlike a real one.
        cli(machine, "gettxoutsetinfo")?;
        jppd.create(&payer.address(machine)?, SATOSHIS)?
    } else {
        jppd.create(&Wallet::from_seed(3)?.new_address()?, SATOSHIS)?
    };
    let key = jppd.into_key();

    machine.pull_the_plug()?;
    // The stand-in mines at its start, and a block of three hours ahead is one that no other can follow.
    let units = if matches!(node, Program::Bitcoind(_)) { &["jppd", "bitcoind"][..] } else { &["jppd"] };
    for unit in units {
        machine.write(&format!("/etc/systemd/system/{unit}.service.d/clock.conf"), FAKED)?;
    }
    machine.write(OFFSET, "+3h\n")?;
    machine.boot()?;
    next_step(machine, "walk: a power cut, and a boot with a clock three hours ahead");
    let jppd = Installed::again(machine, key);
    until("the node answers", || Ok(Inside(machine).call("getblockcount", json!([])).is_ok()))?;
    thread::sleep(A_WHILE);
    machine.write(OFFSET, "+0\n")?;
    thread::sleep(A_WHILE);
    let mut payer = Payer::fund(machine, node)?;
    jppd.until_ready()?;
    next_step(machine, "walk: the clock is set right, jppd is ready");

    let next = jppd.create(&payer.address(machine)?, SATOSHIS)?;
    thread::sleep(A_WHILE);
    let now = jppd.invoice(&next)?;
    ensure!(now["status"] == "pending", "{now}");
    payer.pay(&jppd, &next).context("the next invoice")?;
    payer.pay(&jppd, &open).context("an invoice from before the power cut")?;
    next_step(machine, "walk: the next invoice is paid, and one from before");
    Ok(())
}
