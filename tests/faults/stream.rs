//! A stream of payments, as customers make them: each asks for an invoice, pays it, and repeats what was not
//! answered. Half of them submit their transaction, half send it straight to the node.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::{Transaction, consensus};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use proptest::{
    prelude::Rng as _,
    test_runner::{RngAlgorithm, TestRng},
};
use regtest::{
    Daemon, Node, RpcFailure, Shop,
    client::Answer,
    eventually,
    purse::raw_hex,
    shop::id,
    wallet::{PayOptions, Payment},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// What each payment pays, and the coin it spends, in satoshis.
const PRICE: u64 = 5_000;
const COIN: u64 = 10_000;
/// How many customers pay at once.
const CUSTOMERS: usize = 8;
/// How many payments there are between two blocks, on average.
const BLOCK: u64 = 40;
/// How long a customer repeats before the test gives up.
const PATIENCE: Duration = Duration::from_secs(180);

/// Chance that can be had again.
#[derive(Clone)]
pub(crate) struct Chance(TestRng);

impl Chance {
    /// From `JPPD_SEED`, or a new one; the seed is printed.
    pub(crate) fn new(test: &str) -> Result<Self> {
        let seed = match std::env::var("JPPD_SEED") {
            Ok(named) => named.parse().context("JPPD_SEED is a number")?,
            Err(_) => getrandom::u64()?,
        };
        println!("{test}: JPPD_SEED={seed}");
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Ok(Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)))
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0.next_u64() % end
    }

    /// Less than so many milliseconds.
    pub(crate) fn millis(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }
}

/// A payment that was made.
pub(crate) struct Made {
    pub(crate) id: String,
    txid: String,
}

/// What customers do, while somebody else does harm.
pub(crate) struct Stream {
    chance: Chance,
    under_way: JoinSet<Result<Made>>,
    begun: u64,
    made: Vec<Made>,
}

impl Stream {
    /// A stream of at most so many payments: each has a coin of its own, so that none waits for another.
    pub(crate) fn prepare(shop: &mut Shop, most: usize, chance: Chance) -> Result<Self> {
        for transaction in shop.payer.wallet.split(most, COIN, PayOptions::default())? {
            shop.node.send(&consensus::serialize(&transaction))?;
        }
        shop.payer.mine(&*shop.node, 1)?;
        Ok(Self { chance, under_way: JoinSet::new(), begun: 0, made: Vec::new() })
    }

    /// How many were made.
    pub(crate) fn made(&self) -> &[Made] {
        &self.made
    }

    /// Customers come, and blocks, until so many payments began.
    pub(crate) async fn flow(&mut self, shop: &mut Shop, payments: u64) -> Result<()> {
        let end = self.begun + payments;
        while self.begun < end {
            self.step(shop).await?;
        }
        Ok(())
    }

    /// So many more come, however many are there: where nothing is answered, nobody leaves to make room.
    pub(crate) async fn crowd(&mut self, shop: &mut Shop, payments: u64) -> Result<()> {
        for _ in 0..payments {
            self.begin(shop).await?;
        }
        Ok(())
    }

    /// One more customer comes once there is room; sometimes a block, too.
    pub(crate) async fn step(&mut self, shop: &mut Shop) -> Result<()> {
        while self.under_way.len() >= CUSTOMERS {
            self.join_one().await?;
        }
        self.begin(shop).await
    }

    async fn begin(&mut self, shop: &mut Shop) -> Result<()> {
        let address = shop.payee.new_address()?;
        let payment = Payment::new(address.as_str(), PRICE);
        let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
        let customer = Customer {
            number: self.begun,
            daemon: shop.daemon.clone(),
            node: shop.node.clone(),
            transaction: shop.payer.wallet.pay(&[payment], options)?,
            address,
            last: Arc::default(),
        };
        self.begun += 1;
        let by_pay = self.chance.below(2) == 0;
        self.under_way.spawn(async move {
            let what = format!("payment {} by {}", customer.number, if by_pay { "pay" } else { "the node" });
            let (daemon, last) = (customer.daemon.clone(), customer.last.clone());
            match tokio::time::timeout(PATIENCE, customer.pays(by_pay)).await {
                Ok(made) => made.context(what),
                Err(_) => bail!("no end of {what}; {}\n{}", last.lock(), daemon.log()),
            }
        });
        if self.chance.below(BLOCK) == 0 {
            // A node that is away mines nothing.
            match shop.payer.mine(&*shop.node, 1) {
                Err(error) if !is_away(&error) => return Err(error),
                _ => {}
            }
        }
        tokio::time::sleep(self.chance.millis(60)).await;
        Ok(())
    }

    /// Waits for the customers that are there.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.join_one().await?;
        }
        Ok(())
    }

    async fn join_one(&mut self) -> Result<()> {
        if let Some(made) = self.under_way.join_next().await {
            self.made.push(made??);
        }
        Ok(())
    }

    /// Waits until every invoice is paid, in a block or not.
    pub(crate) async fn all_paid(&self, shop: &Shop) -> Result<()> {
        for made in &self.made {
            shop.until_any(&made.id, &["paid", "confirmed"]).await?;
        }
        Ok(())
    }

    /// Whether the node knows every payment, in a block or in its mempool.
    pub(crate) async fn all_in_node(&self, shop: &Shop) -> Result<bool> {
        let mempool: BTreeSet<String> = shop.node.mempool()?.iter().map(ToString::to_string).collect();
        for made in &self.made {
            if !mempool.contains(&made.txid) && shop.get(&made.id).await?["status"] != "confirmed" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until every invoice that a daemon over an older state knows is paid, each once. Gives how many they are.
    pub(crate) async fn settled_as_far_as_known(&self, daemon: &Daemon) -> Result<usize> {
        let mut known = 0;
        for made in &self.made {
            let path = format!("/jpp/invoices/{}/", made.id);
            let look = async || {
                let answer = daemon.api().get(&path).await?;
                if answer.status == 404 {
                    return Ok(Some(0));
                }
                let invoice = answer.expect(200)?;
                if invoice["status"] != "paid" && invoice["status"] != "confirmed" {
                    return Ok(None);
                }
                ensure!(invoice["payments"].as_array().map(Vec::len) == Some(1), "{invoice}");
                ensure!(invoice["payment"]["txid"] == made.txid.as_str(), "{invoice}");
                Ok(Some(1))
            };
            known += eventually(|| format!("{} is paid\n{}", made.id, daemon.log()), look).await?;
        }
        Ok(known)
    }

    /// Confirms everything, and looks at every invoice: it was paid once, by the transaction of its customer, and its
    /// log says so without a gap. `steady` is whether it may have happened that a payment was taken back on the way.
    pub(crate) async fn settle(&self, shop: &mut Shop, steady: bool) -> Result<()> {
        shop.payer.mine(&*shop.node, 1)?;
        let shop = &*shop;
        stream::iter(&self.made)
            .map(Ok)
            .try_for_each_concurrent(32, |made| async move {
                let invoice = shop.until(&made.id, "confirmed").await?;
                let payments = invoice["payments"].as_array().context("payments")?;
                ensure!(payments.len() == 1 && payments[0]["txid"] == made.txid.as_str(), "{invoice}");
                ensure!(invoice["amount_paid"] == PRICE && invoice["late"] == false, "{invoice}");
                let events = shop.events_until(&made.id, "payment_confirmed").await?;
                let wanted = ["invoice_created", "payment_received", "payment_confirmed"];
                ensure!(!steady || events == wanted, "{}: {events:?}", made.id);
                ensure!(balanced(&events), "{}: {events:?}", made.id);
                Ok(())
            })
            .await
    }
}

/// Whether a payment was received once for each time that the invoice became paid.
fn balanced(events: &[String]) -> bool {
    let mut paid = false;
    events.iter().all(|event| match event.as_str() {
        "payment_received" => !std::mem::replace(&mut paid, true),
        "payment_reverted" => std::mem::replace(&mut paid, false),
        _ => true,
    }) && paid
}

struct Customer {
    number: u64,
    daemon: Arc<Daemon>,
    node: Arc<dyn Node>,
    transaction: Transaction,
    address: String,
    /// What it asked last, and what it was told.
    last: Arc<Mutex<String>>,
}

impl Customer {
    async fn pays(self, by_pay: bool) -> Result<Made> {
        let invoice = self.invoice().await?;
        let made = Made { id: id(&invoice)?, txid: self.transaction.compute_txid().to_string() };
        if by_pay {
            self.submits(&made).await?
        } else {
            self.sends().await?
        }
        Ok(made)
    }

    /// A shop that repeats a creation makes no second invoice.
    async fn invoice(&self) -> Result<Value> {
        let api = self.daemon.api().with("idempotency-key", &format!("customer-{}", self.number));
        let body = json!({"outputs": [{"address": self.address, "amount": PRICE}]});
        loop {
            match api.post("/jpp/invoices/", &body).await {
                Ok(answer) if answer.status == 201 => return answer.json(),
                other => self.wait_after("creation", other).await?,
            }
        }
    }

    /// What is answered with 200 is paid from then on.
    async fn submits(&self, made: &Made) -> Result<()> {
        let path = format!("/jpp/invoices/{}/pay/", made.id);
        let body = json!({"raw_tx_hex": raw_hex(&self.transaction)});
        loop {
            match self.daemon.api().post(&path, &body).await {
                Ok(answer) if answer.status == 200 => {
                    let invoice = answer.json()?;
                    let paid = invoice["status"] == "paid" || invoice["status"] == "confirmed";
                    ensure!(paid && invoice["payment"]["txid"] == made.txid.as_str(), "{invoice}");
                    return Ok(());
                }
                other => self.wait_after("submission", other).await?,
            }
        }
    }

    /// Waits before a request is repeated, if that makes sense.
    async fn wait_after(&self, request: &str, answer: Result<Answer>) -> Result<()> {
        *self.last.lock() = format!("the last {request}: {answer:?}");
        match answer {
            Ok(answer) if answer.status != 503 => bail!("{answer:?}"),
            Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        Ok(())
    }

    async fn sends(&self) -> Result<()> {
        loop {
            match self.node.send(&consensus::serialize(&self.transaction)) {
                Ok(_) => return Ok(()),
                Err(failure) if failure.code == RpcFailure::UNREACHABLE || failure.code == -28 => {
                    *self.last.lock() = format!("the last sending: {failure:?}");
                }
                // It took it, and died before it answered.
                Err(failure) if failure.message.contains("txn-already-") || failure.code == -27 => {
                    return Ok(());
                }
                Err(failure) => bail!(failure),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn is_away(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<RpcFailure>()
        .is_some_and(|failure| failure.code == RpcFailure::UNREACHABLE || failure.code == -28)
}
