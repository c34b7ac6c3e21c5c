//! A node's chain, a shop's ledger, and the machines between them.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bitcoincash::{OutPoint, ScriptBuf, TxIn, consensus};
use jppd::{
    bch::{Address, Block, FeeRate, Network, Transaction, Txid},
    engine::Sightings,
    follow::{self, Alarm, FollowError, Gap, Meeting, Memory, Missing, Pass, PassEnd},
    invoice::{
        Draft, Elapsed, InvoiceId, Merchant, NodeTime, Order, PayerNote, Reading, RequiredOutput, Statement,
        Timestamp, Via, ZeroConf,
    },
    ledger::{
        self, Action, Created, Creation, Event, EventKind, Input, MemoryView, Outcome, Reads, Rules,
        tables::Counters,
    },
    node::{NodeError, Reply, Request},
    submit::{self, Accepted, Course, Submission, SubmitError},
};
use regtest::{
    chain::{Chain, Event as Published},
    wallet::{PayOptions, Payment, Wallet},
};

use crate::node;

/// A Tuesday.
const BEGIN_S: u64 = 1_800_000_000;

/// A node's chain, a shop's ledger, and the machines between them.
pub(crate) struct Town {
    pub(crate) chain: Chain,
    /// A payer with coins.
    pub(crate) payer: Wallet,
    pub(crate) view: MemoryView,
    pub(crate) memory: Arc<Memory>,
    /// Whether what left the mempool is sent again.
    pub(crate) rebroadcast: bool,
    /// The lowest height whose block the node keeps.
    pub(crate) kept: u32,
    pub(crate) sightings: Arc<Sightings>,
    rules: Arc<Rules>,
    /// The time, in milliseconds since 1970.
    now: Timestamp,
    /// How far the wall clock is off, in milliseconds.
    off: i64,
    /// Whether what was not noted came just now.
    pub(crate) covered: bool,
    invoices: u8,
    blocks: u8,
}

/// A submission on its way, stopped between two steps.
pub(crate) struct Paying {
    course: Course,
    step: submit::Step,
}

impl Town {
    /// A chain with coins for the payer. Nothing was followed yet.
    pub(crate) fn new() -> Result<Self> {
        let mut town = Self {
            chain: Chain::new(BEGIN_S),
            payer: Wallet::from_seed(1)?,
            view: MemoryView::default(),
            memory: Arc::default(),
            rebroadcast: true,
            kept: 0,
            sightings: Arc::default(),
            rules: Arc::default(),
            now: Timestamp::from_secs(BEGIN_S),
            off: 0,
            covered: true,
            invoices: 0,
            blocks: 0,
        };
        let script = town.payer.script(0)?;
        for hash in town.chain.mine(110, &script, BEGIN_S) {
            town.book(hash)?;
        }
        Ok(town)
    }

    /// A town whose chain and mempool were seen whole once.
    pub(crate) fn open() -> Result<Self> {
        let mut town = Self::new()?;
        town.pass()?;
        Ok(town)
    }

    /// The program ends and begins again: what it kept in memory is gone.
    pub(crate) fn restart(&mut self) {
        self.memory = Arc::default();
        self.sightings = Arc::default();
        self.covered = false;
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
    }

    /// Sets the wall clock: so many seconds off from now on.
    pub(crate) fn set_off(&mut self, secs: i64) {
        self.off = secs * 1000;
    }

    /// All clocks; the node's is right.
    fn reading(&self) -> Reading {
        Reading {
            elapsed: Elapsed::from_millis(self.now.millis()),
            wall: Timestamp::from_millis(self.now.millis().saturating_add_signed(self.off)),
            node: Some(NodeTime::from_millis(self.now.millis())),
            ..Reading::default()
        }
    }

    // The node.

    /// Mines a block with what is in the mempool.
    pub(crate) fn mine(&mut self) -> Result<bitcoincash::BlockHash> {
        self.mine_ahead(0)
    }

    /// The same by a miner whose clock is this many seconds ahead.
    pub(crate) fn mine_ahead(&mut self, secs: u64) -> Result<bitcoincash::BlockHash> {
        self.blocks += 1;
        let hashes = self.chain.mine(1, &nobody(self.blocks), self.now.secs() + secs);
        let hash = *hashes.first().context("a block")?;
        self.book(hash)?;
        Ok(hash)
    }

    /// Mines a block with these transactions alone, known or not.
    pub(crate) fn mine_these(&mut self, transactions: Vec<bitcoincash::Transaction>) -> Result<()> {
        self.blocks += 1;
        let mined = self.chain.mine_transactions(transactions, &nobody(self.blocks), self.now.secs());
        let hash = mined.map_err(|reject| anyhow::anyhow!("{}", reject.message))?;
        self.book(hash)
    }

    /// Takes the last block off the node's chain.
    pub(crate) fn take_back(&mut self) -> Result<()> {
        let (tip, _) = self.chain.tip();
        self.chain.invalidate(tip, self.now.secs()).map_err(|reject| anyhow::anyhow!("{}", reject.message))
    }

    /// Hands a transaction to the node, as anybody on the network would.
    pub(crate) fn broadcast(&mut self, tx: &bitcoincash::Transaction) -> Result<()> {
        let sent = self.chain.submit(&consensus::serialize(tx), false, self.now.secs());
        sent.map(drop).map_err(|reject| anyhow::anyhow!("{}", reject.message))
    }

    /// Hands a transaction to the node while the node's clock is `secs` seconds ahead.
    pub(crate) fn broadcast_dated(&mut self, tx: &bitcoincash::Transaction, secs: i64) -> Result<()> {
        let now_s = self.now.secs().saturating_add_signed(secs);
        let sent = self.chain.submit(&consensus::serialize(tx), false, now_s);
        sent.map(drop).map_err(|reject| anyhow::anyhow!("{}", reject.message))
    }

    fn book(&mut self, hash: bitcoincash::BlockHash) -> Result<()> {
        let block = self.chain.block(hash).context("a block")?;
        self.payer.scan_block(&block.block, block.height);
        Ok(())
    }

    // The payer.

    /// A locking script of the payer's.
    pub(crate) fn own_script(&mut self) -> Result<ScriptBuf> {
        self.payer.script(1)
    }

    /// Signs a payment to an address.
    pub(crate) fn sign(&mut self, address: &str, satoshis: u64) -> Result<bitcoincash::Transaction> {
        self.payer.pay(&[Payment::new(address, satoshis)], PayOptions::default())
    }

    /// Signs a transaction with one output that takes all that these hold.
    pub(crate) fn sweep(&mut self, outpoints: &[OutPoint]) -> Result<bitcoincash::Transaction> {
        let template = bitcoincash::Transaction {
            version: bitcoincash::transaction::Version::TWO,
            lock_time: bitcoincash::absolute::LockTime::ZERO,
            input: outpoints
                .iter()
                .map(|outpoint| TxIn { previous_output: *outpoint, ..TxIn::default() })
                .collect(),
            output: Vec::new(),
        };
        self.payer.double_spend(&template, PayOptions::default())
    }

    /// Coins of the payer that can be spent, the largest first.
    pub(crate) fn coins(&self, count: usize) -> Vec<OutPoint> {
        let (_, tip) = self.chain.tip();
        let mature = |height: Option<u32>| height.is_some_and(|height| height + 100 <= tip);
        let coins = self.payer.coins().filter(|(_, coin)| mature(coin.height));
        coins.map(|(outpoint, _)| *outpoint).take(count).collect()
    }

    // The shop.

    /// An invoice for one output, open for a quarter of an hour.
    pub(crate) fn invoice(&mut self, script: &ScriptBuf, satoshis: u64) -> Result<InvoiceId> {
        self.invoice_of(&[(script.clone(), satoshis)])
    }

    /// An invoice for one output that holds payments back until they have this score and so many seconds have passed.
    pub(crate) fn careful_invoice(
        &mut self,
        satoshis: u64,
        min_score: &str,
        secs: u64,
    ) -> Result<(InvoiceId, String)> {
        let script = nobody(200 + self.invoices);
        let id = self.careful_invoice_of(&script, satoshis, min_score, secs)?;
        Ok((id, address_of(&script)?))
    }

    /// The same for a script of one's own.
    pub(crate) fn careful_invoice_of(
        &mut self,
        script: &ScriptBuf,
        satoshis: u64,
        min_score: &str,
        secs: u64,
    ) -> Result<InvoiceId> {
        let zero_conf = ZeroConf { min_score: min_score.parse()?, wait: Duration::from_secs(secs) };
        self.invoice_with(&[(script.clone(), satoshis)], Some(zero_conf))
    }

    /// The same for several outputs.
    pub(crate) fn invoice_of(&mut self, asked: &[(ScriptBuf, u64)]) -> Result<InvoiceId> {
        self.invoice_with(asked, None)
    }

    fn invoice_with(&mut self, asked: &[(ScriptBuf, u64)], zero_conf: Option<ZeroConf>) -> Result<InvoiceId> {
        let (id, creation) = self.creation(asked, zero_conf)?;
        let outcome = self.apply(creation)?;
        let registered =
            matches!(&outcome, Outcome::Created(created) if matches!(**created, Created::Registered(_)));
        ensure!(registered, "not created: {outcome:?}");
        Ok(id)
    }

    /// The input that registers an invoice for these outputs.
    pub(crate) fn creation(
        &mut self,
        asked: &[(ScriptBuf, u64)],
        zero_conf: Option<ZeroConf>,
    ) -> Result<(InvoiceId, Action)> {
        self.invoices += 1;
        let id = InvoiceId::from_bytes([self.invoices; 16]);
        let mut outputs = Vec::new();
        for (script, satoshis) in asked {
            let address = Address::of_script(script, Network::Regtest).context("an address")?;
            outputs.push(RequiredOutput::new(&address, *satoshis, None, None));
        }
        let draft = Draft {
            outputs,
            memo: None,
            merchant_data: None,
            lasts: Duration::from_secs(900),
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf,
        };
        let creation = Creation { id, merchant: Merchant::named("shop"), draft, idempotency: None };
        Ok((id, Action::Create(Box::new(creation))))
    }

    /// An invoice for one output to an address that nobody used.
    pub(crate) fn fresh_invoice(&mut self, satoshis: u64) -> Result<(InvoiceId, String)> {
        let script = nobody(200 + self.invoices);
        let id = self.invoice(&script, satoshis)?;
        Ok((id, address_of(&script)?))
    }

    pub(crate) fn statement(&self, id: InvoiceId) -> Result<Statement> {
        ledger::statement(&self.view, id)?.context("the invoice")
    }

    /// A transaction with one output that takes all that these hold, and an invoice for exactly that.
    pub(crate) fn invoice_swept(
        &mut self,
        outpoints: &[OutPoint],
    ) -> Result<(InvoiceId, bitcoincash::Transaction)> {
        let tx = self.sweep(outpoints)?;
        let output = tx.output.first().context("an output")?.clone();
        Ok((self.invoice(&output.script_pubkey, output.value.to_sat())?, tx))
    }

    /// A transaction to an address that no invoice asks for yet, which the node has; and its locking script.
    pub(crate) fn pay_nobody(
        &mut self,
        tag: u8,
        satoshis: u64,
    ) -> Result<(ScriptBuf, bitcoincash::Transaction)> {
        let script = nobody(tag);
        let tx = self.sign(&address_of(&script)?, satoshis)?;
        self.broadcast(&tx)?;
        Ok((script, tx))
    }

    /// The word for the status of an invoice.
    pub(crate) fn status(&self, id: InvoiceId) -> Result<&'static str> {
        Ok(self.statement(id)?.standing().status.name())
    }

    /// The events of an invoice after its creation.
    pub(crate) fn news(&self, id: InvoiceId) -> Result<Vec<EventKind>> {
        let events: Vec<Event> = ledger::events_after(&self.view, id, 1, usize::MAX)?;
        Ok(events.iter().map(|event| event.kind).collect())
    }

    pub(crate) fn apply(&mut self, action: Action) -> Result<Outcome> {
        let applied = ledger::apply(&self.view, &self.rules, Input { at: self.reading(), action })?;
        self.view.commit(applied.changes);
        Ok(applied.outcome)
    }

    fn order(&self) -> Result<Order> {
        Ok(Reads::<Counters>::get(&self.view, &())?.unwrap_or_default().order)
    }

    // The follower.

    /// A pass over chain and mempool beside a node that is up to date.
    pub(crate) fn pass(&mut self) -> Result<PassEnd> {
        self.pass_beside(true)
    }

    /// A pass; `up_to_date` is what a survey says of the node.
    pub(crate) fn pass_beside(&mut self, up_to_date: bool) -> Result<PassEnd> {
        self.wait(1);
        let mut pass = Pass::new(self.sightings.clone(), self.memory.clone(), up_to_date);
        if !self.rebroadcast {
            pass = pass.without_rebroadcast();
        }
        let mut answer = follow::Answer::Begin;
        loop {
            let moment = follow::Moment { now: self.reading(), order: self.order()? };
            let step = pass.on(answer, &self.view, moment)?;
            match self.follow(step)? {
                Ok(next) => answer = next,
                Err(end) => return Ok(end),
            }
        }
    }

    /// What the node deleted before it was walked; goes on without it if that is acknowledged.
    pub(crate) fn gap(&mut self, acknowledged: bool) -> Result<Missing> {
        let mut gap = Gap::new(acknowledged);
        let mut answer = follow::Answer::Begin;
        loop {
            let step = gap.on(answer, &self.view)?;
            match self.follow(step)? {
                Ok(next) => answer = next,
                Err(missing) => return Ok(missing),
            }
        }
    }

    /// A pass under which an input lands that it knows nothing of, right before the first step of this kind.
    pub(crate) fn pass_disturbed(
        &mut self,
        before: fn(&follow::Step<PassEnd>) -> bool,
        input: Action,
    ) -> Result<std::result::Result<PassEnd, FollowError>> {
        self.wait(1);
        let mut pass = Pass::new(self.sightings.clone(), self.memory.clone(), true);
        let (mut answer, mut input) = (follow::Answer::Begin, Some(input));
        loop {
            let moment = follow::Moment { now: self.reading(), order: self.order()? };
            let step = match pass.on(answer, &self.view, moment) {
                Ok(step) => step,
                Err(error) => return Ok(Err(error)),
            };
            if before(&step)
                && let Some(action) = input.take()
            {
                self.apply(action)?;
            }
            match self.follow(step)? {
                Ok(next) => answer = next,
                Err(end) => return Ok(Ok(end)),
            }
        }
    }

    /// What the node published since the last time reaches the follower.
    pub(crate) fn hear(&mut self) -> Result<()> {
        for published in self.chain.take_events() {
            match published {
                Published::Transaction { raw, .. } => self.meet(raw)?,
                Published::DoubleSpend { txid, .. } => self.sound(txid)?,
                Published::Block { .. } => {}
            }
        }
        Ok(())
    }

    fn sound(&mut self, txid: Txid) -> Result<()> {
        let mut alarm = Alarm::of(txid);
        let mut answer = follow::Answer::Begin;
        loop {
            let step = alarm.on(answer, &self.view)?;
            match self.follow(step)? {
                Ok(next) => answer = next,
                Err(()) => return Ok(()),
            }
        }
    }

    fn meet(&mut self, raw: bytes::Bytes) -> Result<()> {
        let transaction = Transaction::decode(raw)?.shared();
        let moment = follow::Moment { now: self.reading(), order: self.order()? };
        let meeting = Meeting::new(transaction, moment, &self.sightings, self.memory.clone());
        let Some(mut meeting) = meeting else { return Ok(()) };
        let mut answer = follow::Answer::Begin;
        loop {
            let step = meeting.on(answer, &self.view)?;
            match self.follow(step)? {
                Ok(next) => answer = next,
                Err(()) => return Ok(()),
            }
        }
    }

    /// Does what a machine of the follower asks for. `Err` is what it ended with.
    fn follow<T>(&mut self, step: follow::Step<T>) -> Result<std::result::Result<follow::Answer, T>> {
        Ok(Ok(match step {
            follow::Step::Ask(request) => {
                let reply = answer_pruned(&mut self.chain, self.kept, &request, self.now.secs());
                follow::Answer::Node(reply.map_err(FollowError::Node)?)
            }
            follow::Step::Decode(raw) => follow::Answer::Decoded(Block::decode(&raw).map(Arc::new)),
            follow::Step::Apply(action) => follow::Answer::Applied(self.apply(*action)?),
            follow::Step::Done(end) => return Ok(Err(end)),
        }))
    }

    // Submissions.

    /// Pays by submission, from the first step to the last.
    pub(crate) fn pay(
        &mut self,
        invoice: InvoiceId,
        tx: &bitcoincash::Transaction,
    ) -> Result<std::result::Result<Accepted, SubmitError>> {
        self.pay_all(invoice, &[tx])
    }

    /// Pays with several transactions at once.
    pub(crate) fn pay_all(
        &mut self,
        invoice: InvoiceId,
        txs: &[&bitcoincash::Transaction],
    ) -> Result<std::result::Result<Accepted, SubmitError>> {
        let payment = self.begin_payments(invoice, txs)?;
        self.finish(payment)
    }

    /// A submission that has not asked anybody yet.
    pub(crate) fn begin_payment(
        &mut self,
        invoice: InvoiceId,
        tx: &bitcoincash::Transaction,
    ) -> Result<Paying> {
        self.begin_payments(invoice, &[tx])
    }

    /// The same with several transactions.
    pub(crate) fn begin_payments(
        &mut self,
        invoice: InvoiceId,
        txs: &[&bitcoincash::Transaction],
    ) -> Result<Paying> {
        let course = Course::pay(submission(invoice, txs)?, self.rules.clone());
        self.begin(course)
    }

    /// A verification that has not asked anybody yet.
    pub(crate) fn begin_verification(
        &mut self,
        invoice: InvoiceId,
        tx: &bitcoincash::Transaction,
        weighted_size: Option<usize>,
    ) -> Result<Paying> {
        let submission = Submission { weighted_size, ..submission(invoice, &[tx])? };
        self.begin(Course::verify(submission, self.rules.clone()))
    }

    fn begin(&mut self, mut course: Course) -> Result<Paying> {
        let step = self.ask_course(&mut course, submit::Answer::Begin)?;
        Ok(Paying { course, step })
    }

    /// Goes on until the next step is one that the caller waits for, and stops before it.
    pub(crate) fn until(
        &mut self,
        mut payment: Paying,
        stop: impl Fn(&submit::Step) -> bool,
    ) -> Result<Paying> {
        while !stop(&payment.step) {
            match self.take(payment)? {
                Ok(next) => payment = next,
                Err(end) => bail!("it ended before: {end:?}"),
            }
        }
        Ok(payment)
    }

    /// Goes on to the end.
    pub(crate) fn finish(
        &mut self,
        mut payment: Paying,
    ) -> Result<std::result::Result<Accepted, SubmitError>> {
        loop {
            match self.take(payment)? {
                Ok(next) => payment = next,
                Err(end) => return Ok(end),
            }
        }
    }

    /// What the node was asked last comes to nothing, in this way; then to the end.
    pub(crate) fn fail(
        &mut self,
        payment: Paying,
        error: NodeError,
    ) -> Result<std::result::Result<Accepted, SubmitError>> {
        self.answer(payment, Err(error))
    }

    /// What the node was asked last is answered like this, whatever it would say now; then to the end.
    pub(crate) fn answer(
        &mut self,
        payment: Paying,
        reply: std::result::Result<Reply, NodeError>,
    ) -> Result<std::result::Result<Accepted, SubmitError>> {
        let Paying { mut course, step } = payment;
        ensure!(matches!(step, submit::Step::Ask(_)), "the node was not asked");
        let step = self.ask_course(&mut course, submit::Answer::Node(reply))?;
        self.finish(Paying { course, step })
    }

    /// One step. `Err` is the end.
    fn take(
        &mut self,
        payment: Paying,
    ) -> Result<std::result::Result<Paying, std::result::Result<Accepted, SubmitError>>> {
        let Paying { mut course, step } = payment;
        let answer = match step {
            submit::Step::Ask(request) => {
                submit::Answer::Node(node::answer(&mut self.chain, &request, self.now.secs()))
            }
            submit::Step::Pause(pause) => {
                self.now = self.now.after(pause);
                submit::Answer::Paused
            }
            submit::Step::AwaitPass => {
                self.covered = self.pass()? == PassEnd::Complete;
                submit::Answer::Passed(self.covered)
            }
            submit::Step::Apply(action) => submit::Answer::Applied(Ok(self.apply(*action)?)),
            submit::Step::Done(end) => return Ok(Err(end)),
        };
        let step = self.ask_course(&mut course, answer)?;
        Ok(Ok(Paying { course, step }))
    }

    fn ask_course(&mut self, course: &mut Course, answer: submit::Answer) -> Result<submit::Step> {
        let moment = submit::Moment {
            now: self.reading(),
            order: self.order()?,
            sightings: &self.sightings,
            covered: self.covered,
        };
        Ok(course.on(answer, &self.view, moment)?)
    }
}

/// What a node with this chain answers to a request that has deleted its blocks below a height.
fn answer_pruned(chain: &mut Chain, kept: u32, request: &Request, now_s: u64) -> Result<Reply, NodeError> {
    if let Request::Block(hash) = request
        && chain.block(*hash).is_some_and(|block| block.height < kept)
    {
        return Ok(Reply::Pruned);
    }
    let mut reply = node::answer(chain, request, now_s)?;
    if let Reply::ChainInfo(info) = &mut reply {
        (info.pruned, info.prune_height) = (true, Some(kept));
    }
    Ok(reply)
}

fn submission(invoice: InvoiceId, txs: &[&bitcoincash::Transaction]) -> Result<Submission> {
    let mut transactions = Vec::new();
    for tx in txs {
        transactions.push(Transaction::decode_submitted(consensus::serialize(*tx).into())?.shared());
    }
    let (note, via) = (PayerNote::default(), Via::Api);
    Ok(Submission { invoice, transactions, note, via, weighted_size: None })
}

/// A locking script that nobody has the key of.
pub(crate) fn nobody(tag: u8) -> ScriptBuf {
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &[tag; 20], &[0x88, 0xac]].concat())
}

/// The address of a locking script.
pub(crate) fn address_of(script: &ScriptBuf) -> Result<String> {
    Ok(Address::of_script(script, Network::Regtest).context("an address")?.to_string())
}

/// The id of a transaction.
pub(crate) fn txid(tx: &bitcoincash::Transaction) -> Txid {
    tx.compute_txid()
}
