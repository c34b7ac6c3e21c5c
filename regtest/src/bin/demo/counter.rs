//! The counter of the demo's tea shop: the invoice's own page in a frame, and beside it what a page of `jppd` never
//! has, a button that pays.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bitcoincash::Txid;
use parking_lot::Mutex;
use regtest::{Node, Purse};
use tokio::{net::TcpListener, task::spawn_blocking};

/// The page, with a place for the address of the invoice.
const PAGE: &str = include_str!("counter.html");
/// What a pressed button is answered with, with a place for the words.
const SAID: &str = include_str!("said.html");
const STYLE: &str = include_str!("counter.css");

/// Who pays, whom, and how much.
pub(crate) struct Counter {
    node: Arc<dyn Node>,
    purse: Mutex<Purse>,
    address: String,
    satoshis: u64,
    /// The payment, once it was made.
    paid: Mutex<Option<Txid>>,
}

impl Counter {
    /// A counter at which nothing was paid yet.
    pub(crate) fn new(node: Arc<dyn Node>, purse: Purse, address: &str, satoshis: u64) -> Self {
        Self { node, purse: Mutex::new(purse), address: address.to_owned(), satoshis, paid: Mutex::new(None) }
    }

    /// The demo wallet pays the price to the address of the invoice, through the node: once, however often it is told to.
    ///
    /// # Errors
    /// When its coins do not suffice, or the node refuses.
    pub(crate) async fn pay(self: &Arc<Self>) -> Result<Txid> {
        let counter = self.clone();
        spawn_blocking(move || {
            let mut paid = counter.paid.lock();
            if let Some(txid) = *paid {
                return Ok(txid);
            }
            let txid = counter.purse.lock().pay(&*counter.node, &counter.address, counter.satoshis)?;
            *paid = Some(txid);
            Ok(txid)
        })
        .await?
    }

    /// The node mines a block.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) async fn mine(self: &Arc<Self>) -> Result<()> {
        let counter = self.clone();
        spawn_blocking(move || counter.purse.lock().mine(&*counter.node, 1)).await?
    }
}

/// What is behind the page.
struct Shown {
    counter: Arc<Counter>,
    invoice_url: String,
}

/// Serves the page on a free port of this machine, as long as the program runs. Gives its address.
///
/// # Errors
/// When there is no free port.
pub(crate) async fn open(counter: Arc<Counter>, invoice_url: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let shown = Arc::new(Shown { counter, invoice_url: invoice_url.to_owned() });
    let router = Router::new()
        .route("/", get(page))
        .route("/counter.css", get(async || ([(CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)))
        .route("/pay", post(pay))
        .route("/mine", post(mine))
        .with_state(shown);
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(url)
}

async fn page(State(shown): State<Arc<Shown>>) -> Response {
    html(PAGE.replace("{invoice_url}", &shown.invoice_url), &shown)
}

async fn pay(State(shown): State<Arc<Shown>>) -> Response {
    let paid = shown.counter.pay().await.map(|txid| format!("The demo wallet paid: {txid}"));
    said(paid, &shown)
}

async fn mine(State(shown): State<Arc<Shown>>) -> Response {
    let mined = shown.counter.mine().await.map(|()| "A block was mined.".to_owned());
    said(mined, &shown)
}

fn said(done: Result<String>, shown: &Shown) -> Response {
    let text = done.unwrap_or_else(|error| format!("That did not work: {error:#}"));
    html(SAID.replace("{text}", &text.replace('&', "&amp;").replace('<', "&lt;")), shown)
}

/// A page that loads its style, sends its forms, and shows itself and the invoice in frames; nothing else.
fn html(page: String, shown: &Shown) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-src 'self' {}",
        shown.invoice_url
    );
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8".to_owned()), (CONTENT_SECURITY_POLICY, policy)];
    (headers, page).into_response()
}
