//! The demo: a node, `jppd` beside it, an invoice, a payment, and the event arriving.
//!
//! It takes two minutes of reading and typing. Nothing is left behind: node and store live in temporary folders.

use std::io::{BufRead as _, Write as _};

use anyhow::{Context, Result};
use clap::Parser;
use regtest::{Daemon, Kind, Purse, daemon::beside_this_program};
use serde_json::{Value, json};

/// A payment, start to end, beside a stand-in node or a real one.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Options {
    /// Which node: the stand-in inside this process, or a real bitcoind (BITCOIND, or on PATH)
    #[arg(long, value_enum, default_value = "sim")]
    node: Kind,
    /// Ask nothing: pay at once
    #[arg(long)]
    auto: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let node = options.node.start()?.context("there is no bitcoind: set BITCOIND, or put it on the PATH")?;
    say(&format!("1. A node of our own runs on a private chain: {} at {}", node.name(), node.rpc_url()));
    let mut purse = Purse::fund(&*node, 1)?;
    say("   It mined a few coins for the demo wallet.");

    let daemon = Daemon::start(&beside_this_program("jppd")?, &*node, &[]).await?;
    let api = daemon.api();
    say(&format!("2. jppd runs beside it and listens at {}", daemon.url()));

    let address = regtest::wallet::Wallet::from_seed(2)?.new_address()?;
    let body = json!({"memo": "A cup of tea", "outputs": [{"address": address, "amount": 12_345}]});
    let invoice = api.post("/jpp/invoices/", &body).await?.expect(201)?;
    let (id, url) = (word(&invoice, "payment_id")?, word(&invoice, "payment_url")?);
    say(&format!("3. A merchant asked for 12345 satoshis. The invoice is {url}"));
    say("\n   Look at it from another terminal:\n");
    say(&format!("     curl {url}"));
    say(&format!(
        "     curl -X POST {}/jpp/invoices/ -H 'Content-Type: application/json' \\\n          -d '{body}'",
        daemon.url()
    ));
    say(&format!(
        "     curl -X POST {url}/verify -H 'Content-Type: application/json' -d '{{\"raw_tx_hex\":\"00\"}}'\n"
    ));

    let mut socket = api.socket(&format!("/ws/jpp/invoice/{id}/")).await?;
    say("4. A page would listen here, and so do we:");
    say(&format!("     ws://{}/ws/jpp/invoice/{id}/", daemon.url().trim_start_matches("http://")));
    if !options.auto {
        say("\n   Press Enter, and the demo wallet pays.");
        std::io::stdin().lock().read_line(&mut String::new())?;
    }

    let txid = purse.pay(&*node, &address, 12_345)?;
    say(&format!("5. The wallet paid straight to the address, not through jppd: {txid}"));
    let event = socket.next_of("payment_received").await?;
    say("6. The event arrived:\n");
    say(&indented(&event));
    purse.mine(&*node, 1)?;
    let event = socket.next_of("payment_confirmed").await?;
    say(&format!(
        "\n7. A block was mined, and another event arrived: {} with {} confirmation(s)",
        word(&event, "type")?,
        event["invoice"]["confirmations"]
    ));
    if !options.auto {
        say(&format!("\n   `curl {url}` shows it as well. Press Enter to end the demo."));
        std::io::stdin().lock().read_line(&mut String::new())?;
    }
    let status = daemon.terminate().await?;
    say(&format!("8. jppd was told to stop, and did ({status}). That is all."));
    Ok(())
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
