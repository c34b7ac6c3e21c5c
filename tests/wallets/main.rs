//! The wallets: what each of them sends, to the byte, and what it needs of every answer.
//!
//! No wallet reads the specification before it pays. Each sends its own headers, in its own order and case, leaves out
//! what it thinks unneeded, and breaks on its own details: one compares a `Content-Type` as a text, one wants a memo that
//! is never `null`, one asks three times and compares. A server that serves one of them well can fail the next. So each
//! wallet has a test here which goes its way from the QR code to the payment: its requests as they stand on the line
//! ([`http`]), and of each answer exactly what that wallet would break on. The payer's transactions are signed, and go
//! through the real program into every node there is, the stand-in and a real `bitcoind`.
//!
//! What they were taken from: the wallets' sources, and recordings of the real programs. Some insist on signatures: the
//! daemon has a key, and answers of JPP are checked as Electron Cash checks them ([`signature`]).
//!
//! Some wallets broadcast the transaction themselves, after their request, at the same time, or before: whatever comes
//! first, the payer paid. [`bad_input`] is what no wallet sends.

mod bad_input;
mod bip70;
mod bitpay;
mod certificate;
mod edge;
mod electron_cash;
mod http;
mod json;
mod original_sockets;
mod others;
mod paytaca;
mod protobuf;
mod selene;
mod shop;
mod signature;
mod urls;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use regtest::{Node, nodes};

use crate::shop::Shop;

/// Makes a test that runs its body against every node there is.
macro_rules! on_every_node {
    ($name:ident, $body:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> anyhow::Result<()> {
            crate::run(stringify!($name), $body).await
        }
    };
}
pub(crate) use on_every_node;

async fn run(name: &str, body: impl AsyncFn(Shop) -> Result<()>) -> Result<()> {
    for node in nodes(name)? {
        let node: Arc<dyn Node> = node;
        let kind = node.name();
        let shop = Shop::open(node, &[]).await?;
        body(shop).await.with_context(|| format!("on {kind}"))?;
    }
    Ok(())
}
