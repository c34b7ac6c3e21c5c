//! The demo: a node, `jppd` beside it, an invoice, its page, a payment, and the event arriving.
//!
//! It takes two minutes of reading and clicking. Nothing is left behind: node and store live in temporary folders.

mod counter;

use std::{
    io::{BufRead as _, Write as _},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use regtest::{Daemon, Kind, Purse, Socket, daemon::beside_this_program};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::counter::Counter;

/// What the tea costs, in satoshis.
const PRICE: u64 = 12_345;

/// How long the demo waits for a click, a key, or a payment from elsewhere.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);

/// How long it waits for an event of what it did itself.
const PROMPT: Duration = Duration::from_secs(20);

/// A payment, start to end, beside a stand-in node or a real one.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Options {
    /// Which node: the stand-in inside this process, or a real bitcoind (BITCOIND, or on PATH)
    #[arg(long, value_enum, default_value = "sim")]
    node: Kind,
    /// Ask nothing: pay at once
    #[arg(long, conflicts_with = "open")]
    auto: bool,
    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let node = options.node.start()?.context("there is no bitcoind: set BITCOIND, or put it on the PATH")?;
    say(&format!("1. A node of our own runs on a private chain: {} at {}", node.name(), node.rpc_url()));
    let purse = Purse::fund(&*node, 1)?;
    say("   It mined a few coins for the demo wallet.");

    let daemon = Daemon::start(&beside_this_program("jppd")?, &*node, &[]).await?;
    let api = daemon.api();
    say(&format!("2. jppd runs beside it and listens at {}", daemon.url()));

    let address = regtest::wallet::Wallet::from_seed(2)?.new_address()?;
    let body = json!({"memo": "A cup of tea", "outputs": [{"address": address, "amount": PRICE}]});
    let invoice = api.post("/jpp/invoices/", &body).await?.expect(201)?;
    let (id, url) = (word(&invoice, "payment_id")?, word(&invoice, "payment_url")?);
    say(&format!("3. A merchant asked for {PRICE} satoshis. The invoice is {url}"));
    say(
        "   A browser gets a page at that address, a wallet what it understands, and you, from another terminal:\n",
    );
    say(&format!("     curl {url}"));
    say(&format!(
        "     curl -X POST {}/jpp/invoices/ -H 'Content-Type: application/json' \\\n          -d '{body}'",
        daemon.url()
    ));
    say(&format!(
        "     curl -X POST {url}/verify -H 'Content-Type: application/json' -d '{{\"raw_tx_hex\":\"00\"}}'\n"
    ));

    let mut socket = api.socket(&format!("/ws/jpp/invoice/{id}/?events=all")).await?;
    let counter = Arc::new(Counter::new(node, purse, &address, PRICE));
    let mut keys = (!options.auto).then(lines);
    if options.auto {
        counter.pay().await?;
    } else {
        let till = counter::open(counter.clone(), &url).await?;
        say(&format!("4. Look at the page, with a button that pays: {till}"));
        if options.open && !browse(&till) {
            say("   No browser could be opened from here.");
        }
        say("   Press it, or press Enter here, and the demo wallet pays.");
    }
    let event =
        next(&mut socket, "payment_received", &mut keys, async || counter.pay().await.map(drop)).await?;
    let txid = event["txid"].as_str().unwrap_or("several payments");
    say(&format!("5. It was paid straight to the address, not through jppd: {txid}"));
    say("6. The event arrived, and the page shows it:\n");
    say(&indented(&event));

    if options.auto {
        counter.mine().await?;
    } else {
        say("   Mine a block: with the button on the page, or with Enter.");
    }
    let event = next(&mut socket, "payment_confirmed", &mut keys, async || counter.mine().await).await?;
    say(&format!(
        "\n7. A block was mined, and another event arrived: {} with {} confirmation(s)",
        word(&event, "type")?,
        event["invoice"]["confirmations"]
    ));
    if let Some(keys) = &mut keys {
        say(&format!("\n   The page and `curl {url}` show it as well. Press Enter to end the demo."));
        keys.recv().await;
    }
    let status = daemon.terminate().await?;
    say(&format!("8. jppd was told to stop, and did ({status}). That is all."));
    Ok(())
}

/// The next event of a kind. Until it comes, a key press does something for it, once.
async fn next(
    socket: &mut Socket,
    kind: &str,
    keys: &mut Option<mpsc::Receiver<()>>,
    act: impl AsyncFn() -> Result<()>,
) -> Result<Value> {
    let mut keys = keys.as_mut();
    loop {
        let patience = if keys.is_some() { PATIENCE } else { PROMPT };
        let pressed = async {
            match &mut keys {
                Some(keys) => keys.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = socket.next_within(patience) => {
                let event = event?;
                if event["type"] == kind {
                    return Ok(event);
                }
            }
            Some(()) = pressed => {
                keys = None;
                act().await?;
            }
        }
    }
}

/// The lines that are typed, without what is in them. At the end of the input there are empty ones without end: who
/// gives the demo no keyboard wants it to go on.
fn lines() -> mpsc::Receiver<()> {
    let (typed, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        while input.read_line(&mut String::new()).is_ok() && typed.blocking_send(()).is_ok() {}
    });
    lines
}

/// Opens a page with what the system opens pages with; says whether there was such a thing.
fn browse(url: &str) -> bool {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut opening = Command::new(opener);
    opening.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    opening.spawn().is_ok()
}

fn word(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("no {key} in {value}"))
}

fn indented(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.lines().map(|line| format!("     {line}\n")).collect()
}

fn say(text: &str) {
    // A closed pipe ends the demo at its next step.
    let _ = writeln!(std::io::stdout(), "{text}");
}
