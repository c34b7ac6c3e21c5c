//! The page of an invoice in a real browser: Chromium, without a window, at the real program beside the stand-in.
//!
//! What the server draws is held by the tests of `src/api`. What a payer sees is more than that: a script keeps the
//! page true, a style sheet hides and shows, a policy forbids, and all three are carried out by a program that is not
//! ours. So here nobody asks what the HTML says. A page is opened, something happens to the invoice, and what is looked
//! at is what stands on the screen then.
//!
//! * `live`: payments, in full and in part, and the end of the time to pay turn the page without loading it anew
//! * `away`: the server restarts, the socket is refused, the node goes away
//! * `words`: what merchants and payers write is text, whatever they write
//! * `hand`: copying, the keyboard, and a browser without scripts
//! * `looks`: a phone and a till, light and dark; the pictures stay in `target/tmp/browser`
//! * `demo`: the page of the demo, which has that of an invoice in a frame
//! * `access`: what axe-core finds, the rules of WCAG 2.2 up to AA
//!
//! # How it is driven
//!
//! `chrome` starts chromedriver and through it one browser for each test, with a folder of its own; at most two of them
//! run at a time. Both end with the test, however that ends: the browser hangs on a pipe of chromedriver, and goes when
//! that goes. `tab` is the page as a test sees it. It waits for what is to be seen and never for a time, and in the end
//! it reads the browser's console: an error there, or something that the policy had to stop, fails the test, unless the
//! test caused it and says so.
//!
//! `CHROMEDRIVER` and `CHROMIUM` name the programs; else they are looked for on `PATH`. Where there is none, each test
//! says on standard error that it is skipped.

#[path = "../../regtest/tests/demo/runner.rs"]
mod demo_runner;
#[path = "../clients/npm.rs"]
mod npm;

mod access;
mod away;
mod chrome;
mod demo;
mod hand;
mod live;
mod looks;
mod tab;
mod words;

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use regtest::{Node, Shop, SimNode, SimOptions};
use serde_json::Value;

/// A test in a browser of its own.
macro_rules! in_browser {
    ($name:ident, $body:expr) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() -> anyhow::Result<()> {
            crate::chrome::run(stringify!($name), $body).await
        }
    };
}
use in_browser;

/// The program beside a stand-in; `settings` are further `JPPD_SECTION__KEY` variables.
async fn shop(settings: &[(&str, &str)]) -> Result<Shop> {
    shop_beside(Arc::new(SimNode::start(SimOptions::default())?), settings).await
}

async fn shop_beside(node: Arc<dyn Node>, settings: &[(&str, &str)]) -> Result<Shop> {
    Shop::open(Path::new(env!("CARGO_BIN_EXE_jppd")), node, settings).await
}

/// Where the page of an invoice is.
fn page(shop: &Shop, id: &str) -> String {
    format!("{}/i/{id}", shop.daemon.url())
}

/// A text of an answer.
fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key].as_str().with_context(|| format!("no {key} in {value}"))
}
