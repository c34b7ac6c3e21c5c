//! The people: a merchant who asks for payments, and wallets that pay in every way there is.
//!
//! Exactly, in parts, too much, too late, twice; by submission, straight to the address, both at once; several invoices in
//! one transaction, unconfirmed chains, transactions that double-spend each other with a proof or without a word. A
//! wallet that is put off, or whose answer is lost, asks again, and so does now and then one that was not.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{ScriptBuf, TxOut, Txid};
use jppd::{
    bch::{Address, FeeRate, Network, OutPoint, ProofScore},
    engine::EngineError,
    invoice::{Draft, InvoiceId, Merchant, RequiredOutput, ZeroConf},
    ledger::{Action, Created, Creation, Outcome, Reads, tables::Unassigned},
    submit::{Accepted, SubmitError},
};

use crate::{
    daemon::LONGEST_BLIND,
    defects::Defect,
    purse::{Coin, Purse, Signed, TOKEN_SATOSHIS, burnt},
    world::{Actor, Event, World, short},
};

/// Scripts of invoices are numbered from here, those of miners below.
const FIRST_SCRIPT: u32 = 1_000_000;

/// How often a creation or a submission is tried again.
const MOST_TRIES: u32 = 8;

/// The least number of payments of a town.
const LEAST_PAYMENTS: u64 = 20;

/// What somebody does.
#[derive(Debug)]
pub(crate) enum Deed {
    /// The merchant asks for an invoice.
    Create(u32),
    /// A transaction reaches the node.
    Broadcast(Txid),
    /// A wallet hands transactions over for an invoice.
    Submit { invoice: InvoiceId, txids: Vec<Txid>, tries: u32 },
    /// A block with these transactions.
    Mine(Vec<Txid>),
    /// A transaction leaves the mempool, and its rival enters.
    Replace(Txid, Txid),
    /// The merchant withdraws an invoice.
    Cancel(InvoiceId),
    /// The merchant assigns the first unassigned payment to an invoice.
    Assign(InvoiceId),
    /// Somebody pays something to an address of an invoice.
    Donate,
    /// Somebody pays until there were enough payments.
    Fill,
}

/// What is asked of one output.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    script: ScriptBuf,
    satoshis: u64,
    tokens: Option<u64>,
}

/// An invoice that the merchant wants.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) asked: Vec<Asked>,
    pub(crate) expires_in: u64,
    confirmations: u8,
    /// What is asked of payments that are in no block.
    zero_conf: Option<ZeroConf>,
    tries: u32,
    /// The name of the last try; `true` while its answer is out.
    id: Option<InvoiceId>,
    waits: bool,
}

/// Everybody beside the node and the daemon.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) purse: Purse,
    pub(crate) jobs: BTreeMap<u32, Job>,
    /// Invoices that were acknowledged, with their jobs.
    pub(crate) known: Vec<(InvoiceId, u32)>,
    pub(crate) signed: BTreeMap<Txid, (Signed, Vec<Coin>)>,
    pub(crate) rivals: Vec<Txid>,
    ids: u32,
}

impl People {
    pub(crate) fn new(purse: Purse) -> Self {
        Self {
            purse,
            jobs: BTreeMap::new(),
            known: Vec::new(),
            signed: BTreeMap::new(),
            rivals: Vec::new(),
            ids: 0,
        }
    }

    pub(crate) fn raw(&self, txid: &Txid) -> Option<&Signed> {
        self.signed.get(txid).map(|(signed, _)| signed)
    }

    pub(crate) fn keep(&mut self, signed: Signed, coins: Vec<Coin>) -> Txid {
        let txid = signed.txid;
        self.signed.insert(txid, (signed, coins));
        txid
    }

    pub(crate) fn outputs(&self, asked: &[Asked]) -> Vec<TxOut> {
        asked
            .iter()
            .map(|asked| self.purse.output_to(asked.script.clone(), asked.satoshis, asked.tokens))
            .collect()
    }

    /// Signs a payment of these outputs; what comes back may be spent before it is confirmed.
    pub(crate) fn pay(&mut self, outputs: Vec<TxOut>, spend_change: bool) -> Result<Txid> {
        let mut coins = vec![self.purse.coin()?];
        if outputs.iter().any(|output| output.token.is_some()) {
            coins.push(self.purse.token_coin()?);
        }
        let signed = self.purse.pay(&coins, outputs)?;
        if spend_change {
            self.purse.receive(&signed);
        }
        Ok(self.keep(signed, coins))
    }

    /// Signs another transaction with the coins of one.
    pub(crate) fn rival(&mut self, of: Txid) -> Result<Txid> {
        let (signed, coins) = self.signed.get(&of).cloned().context("a transaction")?;
        let rival = self.purse.rival(&signed, &coins)?;
        let rival = self.keep(rival, coins);
        self.rivals.push(rival);
        Ok(rival)
    }
}

impl World {
    /// What people will do.
    pub(crate) fn people_plan(&mut self) -> Result<()> {
        if self.plan.trials > 0 {
            return self.trials();
        }
        for number in 0..self.plan.invoices {
            let job = self.job(number);
            let latest = self.plan.busy * 3 / 4;
            let at = self.dice.between(1_200, latest);
            // Somebody paid the address before it was asked for.
            if self.dice.chance(150) {
                let outputs = self.people.outputs(&job.asked);
                let early = self.people.pay(outputs, false)?;
                let before = self.dice.between(0, 900);
                self.tally.count("payments");
                self.at(at.saturating_sub(before), Event::Do(Deed::Broadcast(early)));
                if self.dice.chance(400) {
                    let mined = before / 2;
                    self.at(at.saturating_sub(mined), Event::Do(Deed::Mine(vec![early])));
                }
            }
            self.people.jobs.insert(number, job);
            self.at(at, Event::Do(Deed::Create(number)));
        }
        for _ in 0..8 {
            let at = self.dice.between(4_000, self.plan.busy - 2_000);
            self.at(at, Event::Do(Deed::Donate));
        }
        self.at(self.plan.busy - 1_500, Event::Do(Deed::Fill));
        Ok(())
    }

    /// The registration race: each payment has its own address, and its invoice comes up to half a second before or
    /// after it, or after its block.
    fn trials(&mut self) -> Result<()> {
        for number in 0..self.plan.trials {
            let asked = vec![Asked {
                script: burnt(FIRST_SCRIPT + number),
                satoshis: 10_000 + u64::from(number),
                tokens: None,
            }];
            let outputs = self.people.outputs(&asked);
            let txid = self.people.pay(outputs, false)?;
            self.tally.count("payments");
            let job = Job {
                asked,
                expires_in: 600_000,
                confirmations: 1,
                zero_conf: None,
                tries: 0,
                id: None,
                waits: false,
            };
            self.people.jobs.insert(number, job);
            let at = 3_000 + u64::from(number) * 40 + self.dice.below(40);
            match self.dice.below(3) {
                0 => self.at(at, Event::Do(Deed::Broadcast(txid))),
                1 => self.at(at, Event::Do(Deed::Mine(vec![txid]))),
                _ => {
                    let earlier = self.dice.between(500, 1_500);
                    self.at(at - earlier, Event::Do(Deed::Broadcast(txid)));
                    self.at(at, Event::Do(Deed::Mine(vec![txid])));
                }
            }
            let invoice = at - 500 + self.dice.below(1_001);
            self.at(invoice, Event::Do(Deed::Create(number)));
        }
        Ok(())
    }

    fn job(&mut self, number: u32) -> Job {
        let outputs = if self.dice.chance(250) { self.dice.between(2, 3) } else { 1 };
        let mut asked = Vec::new();
        for index in 0..outputs {
            let script = burnt(FIRST_SCRIPT + number * 4 + u32::try_from(index).unwrap_or(0));
            let tokens = self.dice.chance(120).then(|| self.dice.between(5, 50));
            let satoshis = if tokens.is_some() { TOKEN_SATOSHIS } else { self.dice.between(2_000, 60_000) };
            asked.push(Asked { script, satoshis, tokens });
        }
        // Some ask for what another one asks for, exactly or nearly.
        if number > 0 && self.dice.chance(300) {
            let other = u32::try_from(self.dice.below(u64::from(number))).unwrap_or(0);
            if let (Some(other), Some(first)) =
                (self.people.jobs.get(&other).and_then(|job| job.asked.first()).cloned(), asked.first_mut())
            {
                *first = other;
                if first.tokens.is_none() && self.dice.chance(400) {
                    first.satoshis += 700;
                }
            }
        }
        Job {
            asked,
            expires_in: if self.dice.chance(500) { self.dice.between(1_500, 9_000) } else { 600_000 },
            confirmations: u8::try_from(self.dice.pick(&[0, 1, 1, 1, 2, 3]).copied().unwrap_or(1))
                .unwrap_or(1),
            zero_conf: self.zero_conf(),
            tries: 0,
            id: None,
            waits: false,
        }
    }

    /// One merchant in five is careful with payments that are in no block.
    fn zero_conf(&mut self) -> Option<ZeroConf> {
        if !self.dice.chance(200) {
            return None;
        }
        self.tally.count("careful invoices");
        let score = self.dice.pick(&[0, 250, 1_000]).copied().and_then(ProofScore::from_thousandths);
        let wait = Duration::from_millis(self.dice.pick(&[0, 1_000, 4_000]).copied().unwrap_or_default());
        Some(ZeroConf { min_score: score?, wait })
    }

    /// Somebody does something.
    pub(crate) fn act(&mut self, deed: Deed) -> Result<()> {
        match deed {
            Deed::Create(number) => self.create(number),
            Deed::Broadcast(txid) => {
                let Some(signed) = self.people.raw(&txid).cloned() else { return Ok(()) };
                if !self.broadcast(&signed.raw, txid)? {
                    self.after(700, Event::Do(Deed::Broadcast(txid)));
                }
                Ok(())
            }
            Deed::Submit { invoice, txids, tries } => {
                let signed = txids.iter().filter_map(|txid| self.people.raw(txid));
                let raws: Vec<_> = signed.map(|signed| signed.raw.clone()).collect();
                if !self.submit(invoice, &txids, &raws, tries)? && tries < MOST_TRIES {
                    let delay = self.dice.between(300, 2_000);
                    self.after(delay, Event::Do(Deed::Submit { invoice, txids, tries: tries + 1 }));
                }
                Ok(())
            }
            Deed::Mine(txids) => {
                let txs = txids.iter().filter_map(|txid| self.people.raw(txid));
                let txs = txs.map(|signed| signed.tx.clone()).collect();
                self.mine_these(txs);
                Ok(())
            }
            Deed::Replace(of, rival) => {
                if self.node.chain.mempool_entry(of).is_some() {
                    self.evict(of);
                }
                self.act(Deed::Broadcast(rival))
            }
            Deed::Cancel(invoice) => {
                self.say(|| format!("merchant  cancels {}", short(&invoice)));
                let merchant = merchant();
                self.apply(Actor::Manage, Action::Cancel { invoice, merchant }, false);
                Ok(())
            }
            Deed::Assign(invoice) => {
                let first = OutPoint { txid: bitcoincash::hashes::Hash::from_byte_array([0; 32]), vout: 0 };
                let last =
                    OutPoint { txid: bitcoincash::hashes::Hash::from_byte_array([0xff; 32]), vout: u32::MAX };
                let unassigned = Reads::<Unassigned>::range(&*self.disk, first..=last, 1)?;
                if let Some((outpoint, _)) = unassigned.first() {
                    let action = Action::Assign { outpoint: *outpoint, invoice, merchant: merchant() };
                    self.apply(Actor::Manage, action, false);
                }
                Ok(())
            }
            Deed::Donate => self.donate(),
            Deed::Fill => {
                while self.tally.get("payments") < LEAST_PAYMENTS {
                    self.donate()?;
                }
                Ok(())
            }
        }
    }

    fn donate(&mut self) -> Result<()> {
        let script = match self.dice.pick(&self.people.known).copied() {
            Some((_, number)) => {
                let job = self.people.jobs.get(&number);
                job.and_then(|job| job.asked.first()).map(|asked| asked.script.clone())
            }
            None => None,
        };
        let script = script.unwrap_or_else(|| burnt(FIRST_SCRIPT - 1));
        let satoshis = self.dice.between(1_000, 9_000);
        let outputs = vec![self.people.purse.output_to(script, satoshis, None)];
        let txid = self.people.pay(outputs, true)?;
        self.tally.count("payments");
        self.act(Deed::Broadcast(txid))
    }

    // Creation.

    fn create(&mut self, number: u32) -> Result<()> {
        let watched = self.passed_within(LONGEST_BLIND);
        let allowed = watched || self.defect == Some(Defect::CreationUnwatched);
        if self.daemon.is_none() || !allowed {
            self.tally.count("creations put off");
            return self.create_again(number);
        }
        self.people.ids += 1;
        let mut bytes = [0x11; 16];
        bytes[..4].copy_from_slice(&self.people.ids.to_be_bytes());
        let id = InvoiceId::from_bytes(bytes);
        let token = |amount: Option<u64>| amount.and_then(|amount| self.people.purse.token(amount));
        let Some(job) = self.people.jobs.get(&number) else { return Ok(()) };
        let mut outputs = Vec::new();
        for asked in &job.asked {
            let address = Address::of_script(&asked.script, Network::Regtest).context("an address")?;
            outputs.push(RequiredOutput::new(&address, asked.satoshis, token(asked.tokens), None));
        }
        let draft = Draft {
            outputs,
            memo: None,
            merchant_data: None,
            lasts: Duration::from_millis(job.expires_in),
            fee_rate: FeeRate::default(),
            confirmations_required: job.confirmations,
            zero_conf: job.zero_conf,
        };
        if let Some(job) = self.people.jobs.get_mut(&number) {
            job.id = Some(id);
            job.waits = true;
        }
        self.oracle.asked(id, watched, self.now);
        self.say(|| format!("merchant  asks for {} ({number})", short(&id)));
        let merchant = creator(number);
        if merchant.is_anyone() {
            self.tally.count("creations without a key");
        }
        let creation = Creation { id, merchant, draft, idempotency: None };
        self.apply(Actor::Create(number), Action::Create(Box::new(creation)), false);
        Ok(())
    }

    fn create_again(&mut self, number: u32) -> Result<()> {
        let Some(job) = self.people.jobs.get_mut(&number) else { return Ok(()) };
        job.waits = false;
        job.tries += 1;
        // A trial of the race is one try.
        if job.tries < MOST_TRIES && self.plan.trials == 0 {
            let delay = self.dice.between(500, 2_500);
            self.after(delay, Event::Do(Deed::Create(number)));
        }
        Ok(())
    }

    /// A creation was answered.
    pub(crate) fn created(&mut self, number: u32, outcome: Result<Outcome, EngineError>) -> Result<()> {
        let Ok(Outcome::Created(created)) = outcome else { return self.create_again(number) };
        let Created::Registered(statement) = *created else { return self.create_again(number) };
        let id = statement.invoice.id;
        if let Some(job) = self.people.jobs.get_mut(&number) {
            job.waits = false;
        }
        let asked = self.people.jobs.get(&number).map_or(0, |job| job.expires_in);
        let lasts = statement.invoice.expires.since(statement.invoice.created);
        ensure!(lasts == Duration::from_millis(asked), "{asked} ms were asked for, and {lasts:?} are shown");
        self.say(|| format!("merchant  has {}", short(&id)));
        self.tally.count("invoices");
        self.oracle.acknowledged(id, self.now)?;
        self.people.known.push((id, number));
        if self.plan.trials == 0 { self.plan_payments(id, number) } else { Ok(()) }
    }

    /// The daemon is gone: whoever waits for an answer asks again.
    pub(crate) fn deserted(&mut self, submissions: Vec<(InvoiceId, Vec<Txid>, u32)>) -> Result<()> {
        let waiting: Vec<u32> =
            self.people.jobs.iter().filter(|(_, job)| job.waits).map(|(number, _)| *number).collect();
        for number in waiting {
            self.create_again(number)?;
        }
        for (invoice, txids, tries) in submissions {
            if tries < MOST_TRIES {
                let delay = self.dice.between(500, 6_000);
                self.after(delay, Event::Do(Deed::Submit { invoice, txids, tries: tries + 1 }));
            }
        }
        Ok(())
    }

    /// A submission was answered.
    pub(crate) fn submission_ended(
        &mut self,
        invoice: InvoiceId,
        txids: &[Txid],
        tries: u32,
        end: &Result<Accepted, SubmitError>,
    ) {
        let again = match end {
            Ok(_) => self.troubled && self.dice.chance(300),
            Err(SubmitError::NodeAway | SubmitError::Busy | SubmitError::Unavailable) => true,
            Err(_) => self.troubled && self.dice.chance(150),
        };
        if again && tries < MOST_TRIES {
            let delay = self.dice.between(20, 2_500);
            let deed = Deed::Submit { invoice, txids: txids.to_vec(), tries: tries + 1 };
            self.after(delay, Event::Do(deed));
        }
    }
}

/// Merchant of the invoice of a job. One invoice in seven has no key: its script can become the merchant's.
fn creator(number: u32) -> Merchant {
    if number % 7 == 3 { Merchant::anyone() } else { merchant() }
}

fn merchant() -> Merchant {
    Merchant::named("shop")
}
