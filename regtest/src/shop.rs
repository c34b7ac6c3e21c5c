//! A shop: a node, a payer with coins, a payee, and `jppd` beside the node. What a test of the whole begins with.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    Daemon, Node, Purse, Socket, client::Answer, fresh_nodes, nodes, wait::eventually, wallet::Wallet,
};

/// How long an event log that is at its end is watched for one event too many. A log that has none passes at once and
/// under any load; no later event of the invoice could take the place of this pause.
const SILENCE: Duration = Duration::from_millis(300);

/// A node, a payer with coins, a payee, and `jppd`.
pub struct Shop {
    /// The node.
    pub node: Arc<dyn Node>,
    /// What the payer has.
    pub payer: Purse,
    /// Who is paid.
    pub payee: Wallet,
    /// The program; shared, so that it can be killed while others talk to it.
    pub daemon: Arc<Daemon>,
}

impl Shop {
    /// Funds the payer and starts `program` beside the node; `settings` are further `JPPD_SECTION__KEY` variables.
    ///
    /// # Errors
    /// When the node refuses to mine, or the program does not become ready.
    pub async fn open(program: &Path, node: Arc<dyn Node>, settings: &[(&str, &str)]) -> Result<Self> {
        let payer = Purse::fund(&*node, 1)?;
        let daemon = Arc::new(Daemon::start(program, &*node, settings).await?);
        Ok(Self { node, payer, payee: Wallet::from_seed(2)?, daemon })
    }

    /// An invoice for one output to a fresh address. Gives its id and the address.
    ///
    /// # Errors
    /// When it is not made.
    pub async fn invoice(&mut self, satoshis: u64) -> Result<(String, String)> {
        let address = self.payee.new_address()?;
        let invoice = self.create(&json!({"outputs": [{"address": address, "amount": satoshis}]})).await?;
        Ok((id(&invoice)?, address))
    }

    /// An invoice as a creator words it.
    ///
    /// # Errors
    /// When it is not made; the answer is in the message.
    pub async fn create(&self, body: &Value) -> Result<Value> {
        self.daemon.api().post("/jpp/invoices/", body).await?.expect(201)
    }

    /// An invoice as it stands.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn get(&self, id: &str) -> Result<Value> {
        self.daemon.api().get(&format!("/jpp/invoices/{id}/")).await?.expect(200)
    }

    /// Submits a transaction in hex for an invoice.
    ///
    /// # Errors
    /// When there is no answer; one that says no is no error.
    pub async fn pay(&self, id: &str, raw: &str) -> Result<Answer> {
        self.daemon.api().post(&format!("/jpp/invoices/{id}/pay/"), &json!({"raw_tx_hex": raw})).await
    }

    /// The events of an invoice after the number `since`.
    ///
    /// # Errors
    /// When the upgrade is refused.
    pub async fn socket(&self, id: &str, since: u64) -> Result<Socket> {
        self.daemon.api().events(id, since).await
    }

    /// Waits until an invoice has a status.
    ///
    /// # Errors
    /// When it does not within a minute; the log is in the message.
    pub async fn until(&self, id: &str, status: &str) -> Result<Value> {
        self.until_any(id, &[status]).await
    }

    /// Waits until an invoice has one of several statuses.
    ///
    /// # Errors
    /// As [`Shop::until`].
    pub async fn until_any(&self, id: &str, statuses: &[&str]) -> Result<Value> {
        let fits = |invoice: &Value| statuses.iter().any(|status| invoice["status"] == *status);
        self.until_so(id, &statuses.join(" or "), fits).await
    }

    /// Waits until something is true of an invoice; `what` names it.
    ///
    /// # Errors
    /// As [`Shop::until`].
    pub async fn until_so(&self, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let last = Mutex::new(Value::Null);
        let missing = || format!("{id} is {what}: {}\n{}", last.lock(), self.daemon.log());
        eventually(missing, async || {
            let invoice = self.get(id).await?;
            *last.lock() = invoice.clone();
            Ok(is_so(&invoice).then_some(invoice))
        })
        .await
    }

    /// Waits until `/readyz` names a reason not to be ready.
    ///
    /// # Errors
    /// When it does not within a minute; the log is in the message.
    pub async fn until_not_ready(&self, reason: &str) -> Result<Answer> {
        let last = Mutex::new(None);
        let missing = || format!("{reason}: {:?}\n{}", last.lock(), self.daemon.log());
        eventually(missing, async || {
            // It may have begun just now, and not listen yet.
            match self.daemon.ops().get("/readyz").await {
                Ok(answer) if answer.status == 503 && answer.body.contains(reason) => Ok(Some(answer)),
                other => {
                    *last.lock() = Some(other);
                    Ok(None)
                }
            }
        })
        .await
    }

    /// A counter of the daemon, summed over its labels; 0 before it was counted for the first time.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn counted(&self, name: &str) -> Result<u64> {
        let metrics = self.daemon.ops().get("/metrics").await?.body;
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let counts = metrics.lines().filter(of_name);
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Waits until a pass that began after this call has looked at all of the node: its mempool and its chain.
    ///
    /// # Errors
    /// When there is none within a minute; the log is in the message.
    pub async fn until_looked(&self) -> Result<()> {
        let before = self.counted("jppd_passes_total").await?;
        // The first one to end may have begun before.
        eventually(
            || format!("a pass over the node\n{}", self.daemon.log()),
            async || Ok((self.counted("jppd_passes_total").await? >= before + 2).then_some(())),
        )
        .await
    }

    /// The types of all events of an invoice, in order, up to the first of a type; then the log must be silent.
    ///
    /// # Errors
    /// When a number is missing, or the log goes on.
    pub async fn events_until(&self, id: &str, last: &str) -> Result<Vec<String>> {
        self.events(id, |kinds| kinds.last().map(String::as_str) == Some(last)).await
    }

    /// The types of all events of an invoice are these, in this order.
    ///
    /// # Errors
    /// When they are not, when a number is missing, or the log goes on.
    pub async fn events_are(&self, id: &str, wanted: &[&str]) -> Result<()> {
        let kinds = self.events(id, |kinds| kinds.len() == wanted.len()).await?;
        ensure!(kinds == wanted, "{kinds:?} instead of {wanted:?}");
        Ok(())
    }

    async fn events(&self, id: &str, is_all: impl Fn(&[String]) -> bool) -> Result<Vec<String>> {
        let mut socket = self.socket(id, 0).await?;
        let mut kinds = Vec::new();
        while !is_all(&kinds) {
            let event = socket.next().await.with_context(|| format!("after {kinds:?}"))?;
            ensure!(event["n"] == kinds.len() + 1, "events are numbered without a gap: {event}");
            kinds.push(event["type"].as_str().context("a type")?.to_owned());
        }
        let more = socket.next_within(SILENCE).await;
        ensure!(more.is_err(), "after {kinds:?} came {more:?}");
        Ok(kinds)
    }
}

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shop").field("node", &self.node.name()).field("daemon", &self.daemon).finish()
    }
}

/// The id of an invoice.
///
/// # Errors
/// When it has none.
pub fn id(invoice: &Value) -> Result<String> {
    Ok(invoice["payment_id"].as_str().context("a payment_id")?.to_owned())
}

/// Runs the body of the test `name` against every node there is, see [`nodes`].
///
/// # Errors
/// The body's, with the kind of the node.
pub async fn on_every_node(name: &str, body: impl AsyncFn(Arc<dyn Node>) -> Result<()>) -> Result<()> {
    on_each(nodes(name)?, body).await
}

/// The same with nodes that are the test's own, to be killed and misled, see [`fresh_nodes`].
///
/// # Errors
/// The body's, with the kind of the node.
pub async fn on_fresh_nodes(name: &str, body: impl AsyncFn(Arc<dyn Node>) -> Result<()>) -> Result<()> {
    on_each(fresh_nodes(name)?, body).await
}

async fn on_each(nodes: Vec<Arc<dyn Node>>, body: impl AsyncFn(Arc<dyn Node>) -> Result<()>) -> Result<()> {
    for node in nodes {
        let kind = node.name();
        body(node).await.with_context(|| format!("on {kind}"))?;
    }
    Ok(())
}
