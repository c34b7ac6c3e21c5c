//! A ledger in memory, with a clock, a chain and a wallet that makes up transactions.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bitcoincash::hashes::Hash as _;

use super::{super::*, invariants};
use crate::{
    bch::{BlockHash, Category, FeeRate, OutPoint, ProofScore, ScriptBuf, Token, Transaction, Txid},
    invoice::{
        Credit, Draft, FirstSeen, InvoiceId, Merchant, NodeTime, Order, PayerNote, Reading, RequiredOutput,
        Sighting, Statement, Status, Timestamp, Via,
    },
};

/// How long invoices last here, in seconds.
pub(super) const LIFE: u64 = 900;

pub(super) fn script(tag: u8) -> ScriptBuf {
    ScriptBuf::from([&[0x76, 0xa9, 0x14][..], &[tag; 20], &[0x88, 0xac]].concat())
}

pub(super) fn token(tag: u8, amount: u64) -> Option<Token> {
    Some(Token { category: Category::from_wire([tag; 32]), amount, nft: None })
}

pub(super) fn invoice_id(tag: u8) -> InvoiceId {
    InvoiceId::from_bytes([tag; 16])
}

pub(super) fn shop() -> Merchant {
    Merchant::named("shop")
}

pub(super) fn coin(tag: u32) -> OutPoint {
    let mut bytes = [0xcc; 32];
    bytes[..4].copy_from_slice(&tag.to_le_bytes());
    OutPoint { txid: Txid::from_byte_array(bytes), vout: 0 }
}

pub(super) fn required(tag: u8, satoshis: u64, token: Option<Token>) -> RequiredOutput {
    RequiredOutput { address: format!("{tag}"), script: script(tag), satoshis, token, description: None }
}

fn wire(token: &Token) -> bitcoincash::token::OutputData {
    let nft = token.nft.as_ref();
    let commitment = nft.map(|nft| nft.commitment.clone()).unwrap_or_default();
    let capability = nft.map_or(0, |nft| nft.capability as u8);
    let bitfield = capability
        | if token.amount > 0 { 0x10 } else { 0 }
        | if nft.is_some() { 0x20 } else { 0 }
        | if commitment.is_empty() { 0 } else { 0x40 };
    bitcoincash::token::OutputData {
        id: bitcoincash::TokenID::from_byte_array(*token.category.wire()),
        bitfield,
        amount: bitcoincash::token::TokenAmount::from_int(i64::try_from(token.amount).unwrap()).unwrap(),
        commitment,
    }
}

/// A transaction that spends these and pays those.
pub(super) fn transaction(inputs: &[OutPoint], outputs: &[(u8, u64, Option<Token>)]) -> Arc<Transaction> {
    let tx = bitcoincash::Transaction {
        version: bitcoincash::transaction::Version::TWO,
        lock_time: bitcoincash::absolute::LockTime::ZERO,
        input: inputs
            .iter()
            .map(|outpoint| bitcoincash::TxIn { previous_output: *outpoint, ..bitcoincash::TxIn::default() })
            .collect(),
        output: outputs
            .iter()
            .map(|(tag, satoshis, token)| bitcoincash::TxOut {
                value: bitcoincash::Amount::from_sat(*satoshis),
                script_pubkey: script(*tag),
                token: token.as_ref().map(wire),
            })
            .collect(),
    };
    Transaction::decode(bitcoincash::consensus::serialize(&tx).into()).unwrap().shared()
}

/// A draft of what these ask for.
pub(super) fn draft(outputs: Vec<RequiredOutput>) -> Draft {
    Draft {
        outputs,
        memo: None,
        merchant_data: None,
        lasts: Duration::from_secs(LIFE),
        fee_rate: FeeRate::default(),
        confirmations_required: 1,
        zero_conf: None,
    }
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) view: MemoryView,
    pub(super) rules: Rules,
    /// Elapsed time, and the wall clock as long as that is right.
    pub(super) now: Timestamp,
    /// How far the wall clock is off, in milliseconds.
    pub(super) off: i64,
    /// Time of the node's clock; `None` if that clock is not measured.
    pub(super) node: Option<NodeTime>,
    /// Whether the last input left changes.
    pub(super) changed: bool,
    coins: u32,
    blocks: u32,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(Rules::default())
    }

    pub(super) fn with(rules: Rules) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_500);
        let mut world = Self {
            view: MemoryView::default(),
            rules,
            now,
            off: 0,
            node: None,
            changed: false,
            coins: 0,
            blocks: 0,
        };
        let time_s = u32::try_from(now.secs()).unwrap();
        world.input(Action::Anchor { height: 100, hash: block_hash(0), time_s });
        world
    }

    /// Applies an input, twice, and checks everything.
    pub(super) fn input(&mut self, action: Action) -> Outcome {
        let moves = matches!(action, Action::Assign { .. });
        let input = Input { at: self.reading(), action };
        let Applied { changes, outcome } = apply(&self.view, &self.rules, input.clone()).unwrap();
        let again = apply(&self.view, &self.rules, input.clone()).unwrap();
        assert_eq!(changes, again.changes, "not deterministic: {input:?}");
        assert_eq!(outcome, again.outcome, "not deterministic: {input:?}");
        let refused = match &outcome {
            Outcome::Done | Outcome::Part { .. } => false,
            Outcome::Created(created) => created.statement().is_none(),
            Outcome::Claimed(claimed) => matches!(claimed, Claimed::Refused(_)),
            Outcome::Managed(managed) => !matches!(managed, Managed::Done(_)),
        };
        assert!(!refused || changes.is_empty(), "refused, and yet {changes:?}");
        self.changed = !changes.is_empty();
        let before = self.view.clone();
        self.view.commit(changes);
        invariants::hold(&self.view, &self.rules);
        invariants::hold_between(&before, &self.view, moves);
        outcome
    }

    /// All clocks.
    pub(super) fn reading(&self) -> Reading {
        let wall = Timestamp::from_millis(self.now.millis().saturating_add_signed(self.off));
        Reading { wall, node: self.node, ..Reading::of_wall(self.now) }
    }

    pub(super) fn pass(&mut self, secs: u64) {
        self.now = self.now.after(Duration::from_secs(secs));
    }

    // Merchants.

    pub(super) fn create(&mut self, tag: u8, outputs: &[(u8, u64)]) -> InvoiceId {
        let outputs = outputs.iter().map(|(tag, satoshis)| required(*tag, *satoshis, None)).collect();
        self.create_draft(tag, draft(outputs))
    }

    pub(super) fn create_draft(&mut self, tag: u8, draft: Draft) -> InvoiceId {
        match self.try_create(tag, shop(), draft, None) {
            Created::Registered(statement) => statement.invoice.id,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn try_create(
        &mut self,
        tag: u8,
        merchant: Merchant,
        draft: Draft,
        idempotency: Option<Idempotency>,
    ) -> Created {
        let creation = Creation { id: invoice_id(tag), merchant, draft, idempotency };
        match self.input(Action::Create(Box::new(creation))) {
            Outcome::Created(created) => *created,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn cancel(&mut self, invoice: InvoiceId) -> Managed {
        match self.input(Action::Cancel { invoice, merchant: shop() }) {
            Outcome::Managed(managed) => managed,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn assign(&mut self, outpoint: OutPoint, invoice: InvoiceId) -> Managed {
        match self.input(Action::Assign { outpoint, invoice, merchant: shop() }) {
            Outcome::Managed(managed) => managed,
            other => panic!("{other:?}"),
        }
    }

    // Transactions.

    pub(super) fn coin(&mut self) -> OutPoint {
        self.coins += 1;
        coin(1_000_000 + self.coins)
    }

    /// A transaction that spends a coin of its own.
    pub(super) fn pay(&mut self, outputs: &[(u8, u64)]) -> Arc<Transaction> {
        let coin = self.coin();
        let outputs: Vec<_> = outputs.iter().map(|(tag, satoshis)| (*tag, *satoshis, None)).collect();
        transaction(&[coin], &outputs)
    }

    /// First seen now.
    pub(super) fn seen_now(&self) -> FirstSeen {
        let order = self.view.counters.get(&()).map(|meta| meta.order).unwrap_or_default();
        let now = self.reading();
        FirstSeen { sighting: Sighting::Order(order), at: now.elapsed, shown: now.wall }
    }

    pub(super) fn observe_as(
        &mut self,
        tx: &Arc<Transaction>,
        first_seen: FirstSeen,
        observation: Observation,
    ) {
        self.input(Action::Observed { transaction: tx.clone(), first_seen, observation });
    }

    pub(super) fn mempool(&mut self, tx: &Arc<Transaction>) {
        self.observe_as(tx, self.seen_now(), Observation::Mempool);
    }

    pub(super) fn seen(&mut self, tx: &Arc<Transaction>) {
        self.observe_as(tx, self.seen_now(), Observation::Seen);
    }

    pub(super) fn lost(&mut self, tx: &Arc<Transaction>) {
        self.input(Action::Lost { txid: tx.txid() });
    }

    /// Nobody can tell any more what became of it.
    pub(super) fn missed(&mut self, tx: &Arc<Transaction>) {
        self.input(Action::Missed { txids: vec![tx.txid()] });
    }

    // Risks.

    pub(super) fn proven(&mut self, txs: &[&Arc<Transaction>]) {
        self.input(Action::Proven { txids: txs.iter().map(|tx| tx.txid()).collect() });
    }

    /// The node says how well proofs protect a transaction, in thousandths.
    pub(super) fn appraise(&mut self, tx: &Arc<Transaction>, score: u32) {
        self.input(Action::Appraised { txid: tx.txid(), score: ProofScore::from_thousandths(score) });
    }

    /// Time passes, and a pass that finds no proofs.
    pub(super) fn watch_after(&mut self, secs: u64) {
        self.tick_after(secs);
        let held = self.view.held.keys();
        let now = self.reading().elapsed;
        let until = held.map(|(_, outpoint)| (outpoint.txid, now)).collect();
        self.input(Action::Watched { until });
    }

    // Submissions.

    pub(super) fn claim(&mut self, invoice: InvoiceId, tx: &Arc<Transaction>) -> Claimed {
        self.claim_as(invoice, tx, self.seen_now(), "")
    }

    /// Several transactions at once.
    pub(super) fn claim_all(&mut self, invoice: InvoiceId, txs: &[&Arc<Transaction>]) -> Claimed {
        let first_seen = self.seen_now();
        let submitted = txs
            .iter()
            .map(|tx| Submitted { transaction: (*tx).clone(), first_seen, is_public: false })
            .collect();
        self.claim_these(invoice, submitted, "")
    }

    pub(super) fn claim_as(
        &mut self,
        invoice: InvoiceId,
        tx: &Arc<Transaction>,
        first_seen: FirstSeen,
        memo: &str,
    ) -> Claimed {
        self.claim_these(
            invoice,
            vec![Submitted { transaction: tx.clone(), first_seen, is_public: false }],
            memo,
        )
    }

    fn claim_these(&mut self, invoice: InvoiceId, transactions: Vec<Submitted>, memo: &str) -> Claimed {
        let memo = (!memo.is_empty()).then(|| memo.to_owned());
        let note = PayerNote { memo, refund_to: Vec::new() };
        let judged = judge(&self.view, &self.rules, invoice, &transactions, &self.reading()).unwrap();
        let txids = transactions.iter().map(|submitted| submitted.transaction.txid());
        let repeated = is_claimed(&self.view, invoice, txids).unwrap();
        let request = ClaimRequest { invoice, transactions, note, via: Via::Jpp };
        let claimed = match self.input(Action::Claim(Box::new(request))) {
            Outcome::Claimed(claimed) => claimed,
            other => panic!("{other:?}"),
        };
        // What is asked before is said by the claim, unless a repetition takes up what was open.
        match (&judged, &claimed) {
            _ if repeated => assert_eq!(claimed, Claimed::Open),
            (_, Claimed::Refused(Refusal::TooManyClaims)) => {}
            (Judgement::Refused(said), Claimed::Refused(refusal)) => assert_eq!(said, refusal),
            (Judgement::AlreadyCredited, Claimed::AlreadyCredited)
            | (Judgement::Fits(_), Claimed::Open | Claimed::AlreadyCredited) => {}
            _ => panic!("judged {judged:?}, claimed {claimed:?}"),
        }
        claimed
    }

    pub(super) fn release(&mut self, invoice: InvoiceId, tx: &Arc<Transaction>) {
        self.release_all(invoice, &[tx]);
    }

    pub(super) fn release_all(&mut self, invoice: InvoiceId, txs: &[&Arc<Transaction>]) {
        self.input(Action::Release { txids: txs.iter().map(|tx| tx.txid()).collect(), invoice });
    }

    // The chain.

    pub(super) fn tip(&self) -> (u32, BlockHash) {
        self.view.counters[&()].tip.unwrap()
    }

    pub(super) fn next_hash(&mut self) -> BlockHash {
        self.blocks += 1;
        block_hash(self.blocks)
    }

    pub(super) fn part(&mut self, hash: BlockHash, transactions: &[&Arc<Transaction>]) {
        let transactions = transactions.iter().map(|tx| ((*tx).clone(), None)).collect();
        self.part_as(hash, transactions);
    }

    pub(super) fn part_as(
        &mut self,
        hash: BlockHash,
        transactions: Vec<(Arc<Transaction>, Option<FirstSeen>)>,
    ) {
        let (height, _) = self.tip();
        let time_s = u32::try_from(self.now.secs()).unwrap();
        self.input(Action::BlockPart { hash, height: height + 1, time_s, transactions });
    }

    pub(super) fn connect(&mut self, hash: BlockHash) {
        let (height, _) = self.tip();
        self.input(Action::BlockConnected { hash, height: height + 1 });
    }

    /// A whole block.
    pub(super) fn block(&mut self, transactions: &[&Arc<Transaction>]) -> BlockHash {
        let hash = self.next_hash();
        self.part(hash, transactions);
        self.connect(hash);
        hash
    }

    pub(super) fn blocks(&mut self, count: u32) {
        for _ in 0..count {
            self.block(&[]);
        }
    }

    pub(super) fn disconnect(&mut self) {
        let (height, hash) = self.tip();
        self.input(Action::BlockDisconnected { hash, height });
    }

    /// The coinbase of a block of its own.
    pub(super) fn coinbase(&mut self, outputs: &[(u8, u64)]) -> Arc<Transaction> {
        let tx = self.pay(outputs);
        let mut decoded: bitcoincash::Transaction = bitcoincash::consensus::deserialize(tx.raw()).unwrap();
        decoded.input[0].previous_output = OutPoint::null();
        decoded.input[0].script_sig = ScriptBuf::from(self.coins.to_le_bytes().to_vec());
        Transaction::decode(bitcoincash::consensus::serialize(&decoded).into()).unwrap().shared()
    }

    // Time.

    pub(super) fn tick(&mut self) {
        self.input(Action::Tick { judge_expiry: true, clock_wrong: false });
    }

    /// Lets time pass, and notices.
    pub(super) fn tick_after(&mut self, secs: u64) {
        self.pass(secs);
        self.tick();
    }

    // What became of it.

    pub(super) fn statement(&self, id: InvoiceId) -> Statement {
        statement(&self.view, id).unwrap().unwrap()
    }

    pub(super) fn status(&self, id: InvoiceId) -> Status {
        self.statement(id).standing().status
    }

    /// The credits of an invoice: satoshis by required output.
    pub(super) fn credits(&self, id: InvoiceId) -> Vec<(u16, u64)> {
        self.statement(id).credits.iter().map(|credit| (credit.output, credit.satoshis)).collect()
    }

    pub(super) fn credit(&self, tx: &Arc<Transaction>, vout: u32) -> Option<Credit> {
        self.view.credits.get(&tx.outpoint(vout)).cloned()
    }

    /// Which invoices the outputs of a transaction were credited to.
    pub(super) fn payees(&self, tx: &Arc<Transaction>) -> Vec<Option<InvoiceId>> {
        tx.numbered_outputs().map(|(vout, _)| self.credit(tx, vout).map(|credit| credit.invoice)).collect()
    }

    /// The events of an invoice.
    pub(super) fn events(&self, id: InvoiceId) -> Vec<EventKind> {
        self.events_in_full(id).iter().map(|event| event.kind).collect()
    }

    pub(super) fn events_in_full(&self, id: InvoiceId) -> Vec<Event> {
        events_after(&self.view, id, 0, usize::MAX).unwrap()
    }

    /// The events of an invoice after its creation.
    pub(super) fn news(&self, id: InvoiceId) -> Vec<EventKind> {
        self.events(id).split_off(1)
    }

    pub(super) fn last_event(&self) -> Option<Event> {
        self.view.events.values().next_back().cloned()
    }

    pub(super) fn unassigned(&self) -> Vec<(OutPoint, u64)> {
        let payments = unassigned_of(&self.view, &shop(), 0, usize::MAX).unwrap();
        payments.into_iter().map(|(outpoint, payment)| (outpoint, payment.satoshis)).collect()
    }

    pub(super) fn order(&self) -> Order {
        self.view.counters[&()].order
    }

    /// All but the counters of inputs and of places, which depend on how often somebody asked.
    pub(super) fn states(&self) -> BTreeMap<OutPoint, (InvoiceId, u16, crate::invoice::CreditState)> {
        let credits = self.view.credits.values();
        credits.map(|credit| (credit.outpoint, (credit.invoice, credit.output, credit.state))).collect()
    }
}

pub(super) fn block_hash(tag: u32) -> BlockHash {
    let mut bytes = [0xbb; 32];
    bytes[..4].copy_from_slice(&tag.to_be_bytes());
    BlockHash::from_byte_array(bytes)
}
