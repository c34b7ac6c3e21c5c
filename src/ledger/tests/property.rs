//! Random histories: whatever comes in whatever order, what must hold holds.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::{
    world::{block_hash, coin, draft, required, transaction},
    *,
};
use crate::{
    bch::{OutPoint, ProofScore, Transaction},
    invoice::{FirstSeen, Merchant, PayerNote, Sighting, ZeroConf},
};

/// One step of a history, drawn over a small universe.
#[derive(Clone, Debug)]
enum Step {
    Create {
        outputs: Vec<(u8, u64, bool)>,
        confirmations: u8,
        other: bool,
        key: Option<u8>,
        zero_conf: Option<(u32, u64)>,
    },
    Cancel(u8),
    Assign {
        tx: usize,
        vout: u32,
        invoice: u8,
    },
    Claim {
        txs: Vec<usize>,
        invoice: u8,
    },
    Release {
        txs: Vec<usize>,
        invoice: u8,
    },
    Observe {
        tx: usize,
        mempool: bool,
        evidence: u8,
    },
    Lose(usize),
    Proven(Vec<usize>),
    Appraise {
        tx: usize,
        score: Option<u32>,
    },
    Part(Vec<usize>),
    Connect,
    Block(Vec<usize>),
    Empty(u32),
    Disconnect,
    Tick {
        secs: u64,
        judge: bool,
    },
}

fn output() -> impl Strategy<Value = (u8, u64, bool)> {
    (0u8..4, prop::sample::select(vec![500u64, 1000, 1500]), prop::bool::weighted(0.15))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tx = || 0usize..24;
    let some = || prop::collection::vec(0usize..24, 0..4);
    let submitted = || {
        prop_oneof![
            2 => tx().prop_map(|tx| vec![tx]),
            1 => prop::collection::btree_set(0usize..24, 1..4).prop_map(|txs| txs.into_iter().collect()),
        ]
    };
    let step = prop_oneof![
        6 => (
            prop::collection::vec(output(), 1..4),
            prop::sample::select(vec![0u8, 1, 2, 3, 100]),
            prop::bool::weighted(0.1),
            prop::option::weighted(0.1, 0u8..2),
            prop::option::weighted(0.3, (prop::sample::select(vec![0u32, 250, 1000]), prop::sample::select(vec![0u64, 20]))),
        ).prop_map(|(outputs, confirmations, other, key, zero_conf)| {
            Step::Create { outputs, confirmations, other, key, zero_conf }
        }),
        1 => (0u8..12).prop_map(Step::Cancel),
        2 => (tx(), 0u32..3, 0u8..12).prop_map(|(tx, vout, invoice)| Step::Assign { tx, vout, invoice }),
        6 => (submitted(), 0u8..12).prop_map(|(txs, invoice)| Step::Claim { txs, invoice }),
        2 => (submitted(), 0u8..12).prop_map(|(txs, invoice)| Step::Release { txs, invoice }),
        12 => (tx(), prop::bool::weighted(0.7), 0u8..8)
            .prop_map(|(tx, mempool, evidence)| Step::Observe { tx, mempool, evidence }),
        3 => tx().prop_map(Step::Lose),
        1 => some().prop_map(Step::Proven),
        3 => (tx(), prop::sample::select(vec![None, Some(0), Some(250), Some(1000)]))
            .prop_map(|(tx, score)| Step::Appraise { tx, score }),
        2 => some().prop_map(Step::Part),
        1 => Just(Step::Connect),
        4 => some().prop_map(Step::Block),
        1 => prop::sample::select(vec![1u32, 2, 99]).prop_map(Step::Empty),
        3 => Just(Step::Disconnect),
        3 => (prop::sample::select(vec![0u64, 1, 20, 900, 7 * 24 * 3600, 336 * 3600]), any::<bool>())
            .prop_map(|(secs, judge)| Step::Tick { secs, judge }),
    ];
    prop::collection::vec(step, 1..40)
}

/// Transactions that share coins, spend each other, and pay what is asked, nearly what is asked, and more.
fn universe() -> Vec<Arc<Transaction>> {
    let mut all: Vec<Arc<Transaction>> = Vec::new();
    let tokens = |with: bool| if with { token(9, 5) } else { None };
    for tag in 0..20u8 {
        let first = if tag % 5 == 4 {
            OutPoint { txid: all[usize::from(tag) - 2].txid(), vout: 0 }
        } else {
            coin(u32::from(tag % 7))
        };
        let inputs = if tag % 3 == 0 { vec![first, coin(u32::from(tag % 4) + 20)] } else { vec![first] };
        let sats = |n: u8| [500, 1000, 1500, 700][usize::from(n % 4)];
        let outputs: Vec<_> =
            (0..=tag % 3).map(|n| ((tag + n) % 5, sats(tag / 3 + n), tokens((tag + n) % 7 == 6))).collect();
        all.push(transaction(&inputs, &outputs));
    }
    let mut world = World::new();
    for tag in 0..4 {
        all.push(world.coinbase(&[(tag, 1000), (3, 500)]));
    }
    all
}

/// Drives a world as a careful follower and a careless public would.
struct Driver {
    world: World,
    txs: Vec<Arc<Transaction>>,
    created: u8,
    under_way: Option<crate::bch::BlockHash>,
    history: Vec<Input>,
}

impl Driver {
    fn new() -> Self {
        let rules = Rules { most_open_claims: 2, ..Rules::default() };
        Self { world: World::with(rules), txs: universe(), created: 0, under_way: None, history: Vec::new() }
    }

    fn input(&mut self, action: Action) -> Outcome {
        self.history.push(Input { at: self.world.reading(), action: action.clone() });
        self.world.input(action)
    }

    fn evidence(&self, evidence: u8) -> FirstSeen {
        let now = self.world.seen_now();
        match evidence {
            0 => FirstSeen { sighting: Sighting::MempoolTime { secs: now.shown.secs(), noted: None }, ..now },
            1 => FirstSeen { sighting: Sighting::Order(crate::invoice::Order(4)), ..now },
            _ => now,
        }
    }

    /// A valid block: nothing in it is in the chain already, and no coin is spent twice.
    fn fill(&self, chosen: &[usize]) -> Vec<(Arc<Transaction>, Option<FirstSeen>)> {
        let mut spent: Vec<OutPoint> = Vec::new();
        for record in self.world.view.transactions.values() {
            if matches!(record.place, tables::Place::Block { .. }) {
                spent.extend(Transaction::decode(record.raw.clone()).unwrap().inputs());
            }
        }
        let mut block = Vec::new();
        for index in chosen {
            let tx = &self.txs[*index];
            let mined = self.world.view.transactions.get(&tx.txid()).is_some_and(
                |record| matches!(record.place, tables::Place::Block { hash, .. } if Some(hash) != self.under_way),
            );
            let known =
                tx.is_coinbase() && block.iter().any(|(tx, _): &(Arc<Transaction>, _)| tx.is_coinbase());
            if mined
                || known
                || tx.inputs().iter().any(|outpoint| !tx.is_coinbase() && spent.contains(outpoint))
            {
                continue;
            }
            spent.extend(tx.inputs().iter().filter(|_| !tx.is_coinbase()));
            block.push((tx.clone(), None));
        }
        block
    }

    fn part(&mut self, chosen: &[usize]) {
        let (height, _) = self.world.tip();
        let hash = match self.under_way {
            Some(hash) => hash,
            None => self.world.next_hash(),
        };
        let transactions = self.fill(chosen);
        self.under_way = Some(hash);
        let time_s = u32::try_from(self.world.now.secs()).unwrap();
        self.input(Action::BlockPart { hash, height: height + 1, time_s, transactions });
    }

    fn connect(&mut self) {
        if let Some(hash) = self.under_way.take() {
            let (height, _) = self.world.tip();
            self.input(Action::BlockConnected { hash, height: height + 1 });
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Create { outputs, confirmations, other, key, zero_conf } => {
                if self.created == 12 {
                    return;
                }
                let outputs = outputs
                    .into_iter()
                    .map(|(tag, satoshis, tokens)| {
                        required(tag, satoshis, if tokens { token(9, 5) } else { None })
                    })
                    .collect();
                let mut draft = draft(outputs);
                draft.confirmations_required = confirmations;
                draft.zero_conf = zero_conf.map(|(score, secs)| ZeroConf {
                    min_score: ProofScore::from_thousandths(score).unwrap(),
                    wait: Duration::from_secs(secs),
                });
                let idempotency = key.map(|key| Idempotency {
                    key: key.to_string(),
                    body: [confirmations; 32],
                    sent: [confirmations; 32],
                });
                let merchant = if other { Merchant::named("other") } else { shop() };
                // Ids in no order of time, so that nothing leans on theirs.
                let id = invoice_id(self.created.wrapping_mul(97));
                let creation = Box::new(Creation { id, merchant, draft, idempotency });
                self.created += 1;
                self.input(Action::Create(creation));
            }
            Step::Cancel(invoice) => {
                self.input(Action::Cancel { invoice: self.id(invoice), merchant: shop() });
            }
            Step::Assign { tx, vout, invoice } => {
                let outpoint = self.txs[tx].outpoint(vout);
                let invoice = self.id(invoice);
                self.input(Action::Assign { outpoint, invoice, merchant: shop() });
            }
            Step::Claim { txs, invoice } => {
                let first_seen = self.world.seen_now();
                let txs = txs.iter().map(|tx| self.txs[*tx].clone()).filter(|tx| !tx.is_coinbase());
                let transactions: Vec<_> =
                    txs.map(|transaction| Submitted { transaction, first_seen, is_public: false }).collect();
                let (invoice, note) = (self.id(invoice), PayerNote::default());
                if !transactions.is_empty() {
                    let request = ClaimRequest { invoice, transactions, note, via: Via::Jpp };
                    self.input(Action::Claim(Box::new(request)));
                }
            }
            Step::Release { txs, invoice } => {
                let txids = txs.iter().map(|tx| self.txs[*tx].txid()).collect();
                self.input(Action::Release { txids, invoice: self.id(invoice) });
            }
            Step::Observe { tx, mempool, evidence } => {
                let transaction = self.txs[tx].clone();
                let mempool = mempool && !transaction.is_coinbase();
                let observation = if mempool { Observation::Mempool } else { Observation::Seen };
                let first_seen = self.evidence(evidence);
                self.input(Action::Observed { transaction, first_seen, observation });
            }
            Step::Lose(tx) => {
                self.input(Action::Lost { txid: self.txs[tx].txid() });
            }
            Step::Proven(chosen) => {
                let txids = chosen.iter().map(|tx| self.txs[*tx].txid()).collect();
                self.input(Action::Proven { txids });
            }
            Step::Appraise { tx, score } => {
                let score = score.and_then(ProofScore::from_thousandths);
                self.input(Action::Appraised { txid: self.txs[tx].txid(), score });
                let now = self.world.reading().elapsed;
                let until = self.txs.iter().map(|tx| (tx.txid(), now)).collect();
                self.input(Action::Watched { until });
            }
            Step::Part(chosen) => self.part(&chosen),
            Step::Connect => self.connect(),
            Step::Block(chosen) => {
                self.part(&chosen);
                self.connect();
            }
            Step::Empty(count) => {
                for _ in 0..count {
                    self.part(&[]);
                    self.connect();
                }
            }
            Step::Disconnect => {
                let (height, hash) = self.world.tip();
                if height > 100 {
                    // What was begun on top of it is never heard of again.
                    self.under_way = None;
                    self.input(Action::BlockDisconnected { hash, height });
                }
            }
            Step::Tick { secs, judge } => {
                self.world.pass(secs);
                self.input(Action::Tick { judge_expiry: judge, clock_wrong: false });
            }
        }
    }

    fn id(&self, invoice: u8) -> crate::invoice::InvoiceId {
        invoice_id(invoice.wrapping_mul(97))
    }
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(1500))]

    /// Everything that is checked after every input holds, and batches make no difference: what is read through
    /// changes that are not written yet is what is read after they are.
    #[test]
    fn whatever_happens(steps in steps(), batch in 1usize..9) {
        let mut driver = Driver::new();
        for step in steps {
            driver.step(step);
        }
        let start = World::with(driver.world.rules.clone()).view;
        let mut batched = start.clone();
        for inputs in driver.history.chunks(batch) {
            let mut changes = Changes::default();
            for input in inputs {
                let overlay = Overlay { below: &batched, changes: &changes };
                let applied = apply(&overlay, &driver.world.rules, input.clone()).unwrap();
                changes.extend(applied.changes);
            }
            batched.commit(changes);
        }
        prop_assert_eq!(&batched, &driver.world.view);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    /// However a transaction was met, and however often, in the end it is where it is.
    #[test]
    fn many_ways_to_one_end(
        ways in prop::collection::vec(prop::collection::vec(0u8..2, 0..4), 6),
        places in prop::collection::vec(any::<bool>(), 6),
        again in any::<bool>(),
    ) {
        let outputs: [&[(u8, u64)]; 6] =
            [&[(0, 1000)], &[(0, 500), (1, 500)], &[(1, 1000)], &[(2, 700)], &[(2, 300)], &[(3, 1)]];
        let run = |ways: &[Vec<u8>], again: bool| {
            let mut world = World::new();
            world.create(1, &[(0, 1000)]);
            world.create(2, &[(0, 500), (1, 500)]);
            world.create(3, &[(1, 1000)]);
            world.create(4, &[(2, 1000)]);
            world.create(5, &[(3, 10)]);
            let seen = world.seen_now();
            let txs: Vec<_> =
                outputs.iter().zip(50..).map(|(outputs, tag)| {
                    let outputs: Vec<_> =
                        outputs.iter().map(|(tag, satoshis)| (*tag, *satoshis, None)).collect();
                    transaction(&[coin(tag)], &outputs)
                }).collect();
            // They come one after the other; how each is met first, and what is heard of it then, differs.
            for (tx, ways) in txs.iter().zip(ways) {
                for way in ways {
                    let observation = if *way == 0 { Observation::Seen } else { Observation::Mempool };
                    world.observe_as(tx, seen, observation);
                }
            }
            let (mined, not): (Vec<_>, Vec<_>) = txs.iter().zip(&places).partition(|(_, mined)| **mined);
            let hash = block_hash(77);
            let parts: Vec<_> = mined.into_iter().map(|(tx, _)| (tx.clone(), Some(seen))).collect();
            let parts = || parts.clone();
            // A pass of the mempool, then the block; in the order of the transactions.
            for (tx, _) in &not {
                world.observe_as(tx, seen, Observation::Mempool);
            }
            world.part_as(hash, parts());
            if again {
                world.part_as(hash, parts());
                for (tx, _) in &not {
                    world.observe_as(tx, seen, Observation::Seen);
                }
            }
            world.connect(hash);
            world
        };
        let once: Vec<Vec<u8>> = vec![Vec::new(); 6];
        let (plain, other) = (run(&once, false), run(&ways, again));
        prop_assert_eq!(plain.states(), other.states());
        let statuses = |world: &World| (1..=5).map(|tag| world.status(invoice_id(tag))).collect::<Vec<_>>();
        prop_assert_eq!(statuses(&plain), statuses(&other));
    }
}
