//! A shop: a node, a payer with coins, a payee, and `jppd` beside the node. What a test of the whole begins with.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{Daemon, Node, Purse, Socket, client::Answer, fresh_nodes, nodes, wallet::Wallet};

/// How often something is looked at until it is as it is waited for, 50 ms apart.
const LOOKS: u32 = 400;
/// How long an event log must say nothing more to be at its end.
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
        self.daemon.api().socket(&format!("/ws/jpp/invoice/{id}/?since={since}")).await
    }

    /// Waits until an invoice has a status.
    ///
    /// # Errors
    /// When it does not within 20 seconds; the log is in the message.
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
        let mut last = Value::Null;
        for _ in 0..LOOKS {
            last = self.get(id).await?;
            if is_so(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{id} is not {what}: {last}\n{}", self.daemon.log())
    }

    /// Waits until `/readyz` names a reason not to be ready.
    ///
    /// # Errors
    /// When it does not within 20 seconds; the log is in the message.
    pub async fn until_not_ready(&self, reason: &str) -> Result<Answer> {
        let mut last = None;
        for _ in 0..LOOKS {
            // It may have begun just now, and not listen yet.
            let answer = self.daemon.ops().get("/readyz").await;
            match answer {
                Ok(answer) if answer.status == 503 && answer.body.contains(reason) => return Ok(answer),
                other => last = Some(other),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("never {reason}: {last:?}\n{}", self.daemon.log())
    }

    /// The types of all events of an invoice, in order, up to one of a type; then the log must be silent.
    ///
    /// # Errors
    /// When a number is missing, or the log goes on.
    pub async fn events_until(&self, id: &str, last: &str) -> Result<Vec<String>> {
        let mut socket = self.socket(id, 0).await?;
        let mut kinds = Vec::new();
        while kinds.last().map(String::as_str) != Some(last) {
            let event = socket.next().await?;
            ensure!(event["n"] == kinds.len() + 1, "events are numbered without a gap: {event}");
            kinds.push(event["type"].as_str().context("a type")?.to_owned());
        }
        ensure!(socket.next_within(SILENCE).await.is_err(), "nothing comes after {last}");
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
