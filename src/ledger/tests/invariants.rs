//! What holds at all times: every index is what the records make it, and the log of events tells the same story.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{
    tables::{Ask, ClaimState, InvoiceRecord, Place, Window},
    *,
};
use crate::{
    bch::{BlockHash, OutPoint, Transaction, Txid},
    invoice::{Credit, CreditState, Invoice, InvoiceId, Level, Paid, Phase, Standing, Statement, Via},
};

/// Checks one state.
pub(super) fn hold(view: &MemoryView, rules: &Rules) {
    let meta = view.counters.get(&()).copied().unwrap_or_default();
    events(view, meta.seq);
    for record in view.invoices.values() {
        standing(view, record, meta.tip.map(|(height, _)| height));
    }
    invoice_indexes(view, rules, meta.tip.map(|(height, _)| height));
    credits(view, meta.tip.map(|(height, _)| height));
    transactions(view, meta.tip.map(|(height, _)| height));
    claims(view);
    answers(view);
    chain(view, meta);
}

/// Checks what must not change from one state to the next.
pub(super) fn hold_between(before: &MemoryView, after: &MemoryView, moved: bool) {
    for (outpoint, credit) in &before.credits {
        let now = &after.credits[outpoint];
        if !moved {
            assert_eq!(
                (credit.invoice, credit.output),
                (now.invoice, now.output),
                "a credit moved by itself"
            );
        }
        let facts = |credit: &Credit| (credit.satoshis, credit.token.clone(), credit.first_seen);
        assert_eq!(facts(credit), facts(now));
        // What was only heard of may turn out to have come in a block; once it counted, its way is known.
        let heard_then_mined = credit.live_since.is_none()
            && (credit.via, now.via) == (Via::Mempool, Via::Block)
            && matches!(now.state, CreditState::Confirmed { .. });
        assert!(credit.via == now.via || heard_then_mined, "{credit:?} {now:?}");
    }
    for (seq, event) in &before.events {
        assert_eq!(after.events.get(seq), Some(event), "the log was rewritten");
    }
    assert!(before.invoices.keys().all(|id| after.invoices.contains_key(id)));
    let meta = |view: &MemoryView| view.counters.get(&()).copied().unwrap_or_default();
    let (before, after) = (meta(before), meta(after));
    assert!(before.now <= after.now && before.order <= after.order && before.ordinal <= after.ordinal);
}

fn events(view: &MemoryView, last: u64) {
    assert!(view.events.keys().copied().eq(1..=last), "the log has a gap");
    let mut told: BTreeMap<InvoiceId, (u64, Level)> = BTreeMap::new();
    let mut numbers = BTreeMap::new();
    for (seq, event) in &view.events {
        assert_eq!(event.seq, *seq);
        let Some((id, n)) = event.of_invoice() else { continue };
        let Subject::Invoice { statement, .. } = &event.subject else { panic!() };
        numbers.insert((id, n), *seq);
        let (count, level) = told.entry(id).or_insert((0, Level::Unpaid));
        *count += 1;
        assert_eq!(n, *count, "the events of an invoice have a gap");
        assert!(statement.credits.len() <= Statement::MOST_CREDITS);
        // The log alone tells how far each invoice has come; nothing becomes what it was already.
        match event.kind {
            EventKind::PaymentReceived => {
                assert_eq!(*level, Level::Unpaid, "received twice");
                *level = Level::Paid;
            }
            EventKind::PaymentConfirmed => {
                assert_eq!(*level, Level::Paid, "confirmed twice, or before it was received");
                *level = Level::Confirmed;
            }
            EventKind::PaymentReverted => {
                let cancelled = matches!(statement.state.phase, Phase::Cancelled { .. });
                assert!(cancelled || *level > told_by(statement.state.level), "nothing to revert");
                *level = told_by(statement.state.level);
            }
            EventKind::Confirmation => assert_eq!(*level, Level::Paid),
            EventKind::InvoiceCreated
            | EventKind::InvoiceExpired
            | EventKind::InvoiceCancelled
            | EventKind::PartialPayment => assert_eq!(*level, Level::Unpaid, "{:?}", event.kind),
            EventKind::PaymentRecorded
            | EventKind::PaymentHeld
            | EventKind::PaymentLost
            | EventKind::DoubleSpendDetected
            | EventKind::PaymentMoved
            | EventKind::PaymentUnassigned => {}
        }
        let standing = statement.standing();
        assert_eq!(standing.settlement.is_some(), statement.state.level >= Level::Paid);
        if event.kind == EventKind::PaymentReceived {
            assert_eq!(standing.settlement.map(|settlement| settlement.completed_by), event.txid);
        }
    }
    assert_eq!(view.events_of, numbers);
    let mut last_told = BTreeMap::new();
    for event in view.events.values() {
        if let Subject::Invoice { statement, .. } = &event.subject {
            last_told.insert(statement.invoice.id, there(&statement.credits));
        }
    }
    for record in view.invoices.values() {
        let id = record.invoice.id;
        let credits = credits_of(view, id);
        assert!(
            credits.len() > Statement::MOST_CREDITS || last_told[&id] == there(&credits),
            "what counts for {id} is {:?}, and the last that was told of it is {:?}",
            there(&credits),
            last_told[&id]
        );
        let (count, level) = told[&record.invoice.id];
        assert_eq!(record.state.events, count);
        if !matches!(record.state.phase, Phase::Cancelled { .. }) {
            assert_eq!(told_by(record.state.level), level, "the log tells another story than the record");
        }
    }
}

/// What the log tells of a level: what is held does not count.
fn told_by(level: Level) -> Level {
    if level == Level::Held { Level::Unpaid } else { level }
}

/// What counts of these credits, and what is held.
fn there(credits: &[Credit]) -> BTreeMap<OutPoint, bool> {
    let credits = credits.iter().filter(|credit| credit.state.is_there());
    credits.map(|credit| (credit.outpoint, credit.state == CreditState::Held)).collect()
}

fn credits_of(view: &MemoryView, id: InvoiceId) -> Vec<Credit> {
    let keys = (id, 0)..=(id, u64::MAX);
    view.credits_of.range(keys).map(|(_, outpoint)| view.credits[outpoint].clone()).collect()
}

fn standing(view: &MemoryView, record: &InvoiceRecord, tip: Option<u32>) {
    let credits = credits_of(view, record.invoice.id);
    let anew = Paid::of(&record.invoice, &credits);
    assert_eq!(record.paid.as_ref(), Some(&anew), "the record is not what its credits come to: {credits:?}");
    assert_eq!(paid_anew(view, &record.invoice), Ok(anew.clone()));
    let standing = plain_standing(&record.invoice, &credits);
    assert_eq!(
        anew.counted.iter().map(|output| (output.credited, output.satisfied)).collect::<Vec<_>>(),
        standing
    );
    let standing = Standing::of(&record.invoice, record.state.phase, &credits, tip);
    let level = match &standing.settlement {
        None if anew.is_settled_with_held() => Level::Held,
        None => Level::Unpaid,
        Some(settlement) if settlement.confirmations >= u32::from(record.invoice.confirmations_required) => {
            Level::Confirmed
        }
        Some(_) => Level::Paid,
    };
    assert_eq!(record.state.level, level, "{standing:?} under {tip:?}");
    let in_blocks = standing.settlement.is_some_and(|settlement| settlement.in_blocks);
    assert_eq!(view.awaiting.contains_key(&record.invoice.id), level == Level::Paid && in_blocks);
}

/// Sums the live credits of each required output: satoshis, and whether the credits satisfy the output.
fn plain_standing(invoice: &Invoice, credits: &[Credit]) -> Vec<(u64, bool)> {
    let its = |number: usize| {
        credits.iter().filter(move |credit| usize::from(credit.output) == number && credit.state.is_live())
    };
    let standing = invoice.outputs.iter().enumerate().map(|(number, required)| {
        let sum = its(number).map(|credit| credit.satoshis).sum();
        let satisfied = match &required.token {
            None => sum >= required.satoshis,
            Some(_) => its(number).any(|credit| {
                credit.satoshis >= required.satoshis
                    && crate::invoice::is_satisfied_by(required.token.as_ref(), credit.token.as_ref())
            }),
        };
        (sum, satisfied)
    });
    standing.collect()
}

fn invoice_indexes(view: &MemoryView, rules: &Rules, _tip: Option<u32>) {
    let (mut exact, mut live, mut expiries, mut ends) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut ever = BTreeSet::new();
    for (id, InvoiceRecord { invoice, state, .. }) in &view.invoices {
        assert_eq!(*id, invoice.id);
        let window = match state.phase {
            Phase::Open => Window::Open,
            Phase::Expired { .. } | Phase::Cancelled { .. } => Window::Late,
        };
        for (number, output) in (0u16..).zip(&invoice.outputs) {
            let hash = output.script_hash();
            let script = &view.scripts[&hash];
            let era = script.era_of(invoice.registered);
            assert!(era < script.era() || script.merchant == invoice.merchant);
            assert!(script.first <= invoice.registered);
            let kind = (Ask::of_kind(&hash, era, output.token.as_ref()), invoice.registered, number);
            ever.insert((kind, *id));
            if state.level == Level::Unpaid && !state.archived {
                live.insert(kind, *id);
                let ask = Ask::exactly(&hash, era, output.satoshis, output.token.as_ref());
                exact.insert((window, ask, invoice.registered, number), *id);
            }
        }
        if state.level == Level::Unpaid && state.phase == Phase::Open {
            expiries.insert((invoice.deadline, *id), ());
        }
        if let (Phase::Expired { at } | Phase::Cancelled { at }, false) = (state.phase, state.archived) {
            ends.insert((at.after(rules.late_window), *id), ());
        }
    }
    assert_eq!(view.exact, exact);
    assert_eq!(view.live, live);
    assert_eq!(view.expiries, expiries);
    assert_eq!(view.late_ends, ends);
    if rules.retention.is_none() {
        assert_eq!(view.ever.iter().map(|(key, id)| (*key, *id)).collect::<BTreeSet<_>>(), ever);
    } else {
        assert!(view.ever.iter().all(|(key, id)| ever.contains(&(*key, *id))));
    }
}

fn credits(view: &MemoryView, tip: Option<u32>) {
    let indexed: BTreeMap<_, _> =
        view.credits.values().map(|credit| ((credit.invoice, credit.ordinal), credit.outpoint)).collect();
    assert_eq!(view.credits_of, indexed, "the two indexes of credits disagree");
    let mut held = view.held.clone();
    for (outpoint, credit) in &view.credits {
        assert_eq!(*outpoint, credit.outpoint);
        assert!(view.invoices.contains_key(&credit.invoice));
        let record = &view.transactions[&outpoint.txid];
        let state = match record.place {
            Place::Claimed => panic!("credited before it was seen"),
            Place::Seen => CreditState::Seen,
            Place::Mempool | Place::Missed if credit.state == CreditState::Held => {
                let asked = view.invoices[&credit.invoice].invoice.zero_conf.expect("held for nothing");
                let until = asked.waits_until(credit);
                let now = view.counters[&()].now;
                assert!(view.held.contains_key(&(until, *outpoint)) || until <= now, "held for ever");
                held.remove(&(until, *outpoint));
                CreditState::Held
            }
            Place::Mempool | Place::Missed => CreditState::Mempool,
            Place::Block { height, .. } if record.coinbase && tip.is_none_or(|tip| tip < height + 99) => {
                CreditState::Seen
            }
            Place::Block { height, hash } => CreditState::Confirmed { height, hash },
            Place::Lost => CreditState::Lost,
        };
        assert_eq!(credit.state, state);
        assert!(!credit.state.is_live() || credit.live_since.is_some());
        assert!(!view.unassigned.contains_key(outpoint));
    }
    assert!(held.is_empty(), "waits of nobody: {held:?}");
    let unassigned: BTreeMap<_, _> = view
        .unassigned
        .iter()
        .map(|(outpoint, payment)| ((payment.merchant.clone(), payment.ordinal), *outpoint))
        .collect();
    assert_eq!(view.unassigned_of, unassigned);
}

fn transactions(view: &MemoryView, tip: Option<u32>) {
    let (mut unconfirmed, mut mined, mut maturing) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut spends: BTreeMap<OutPoint, BTreeSet<Txid>> = BTreeMap::new();
    for (txid, record) in &view.transactions {
        let tx = Transaction::decode(record.raw.clone()).unwrap();
        assert_eq!((tx.txid(), tx.outputs().len()), (*txid, record.outputs as usize));
        match record.place {
            Place::Seen | Place::Mempool => {
                unconfirmed.insert(*txid, ());
            }
            Place::Block { height, hash } => {
                mined.insert((hash, *txid), ());
                if record.coinbase && tip.is_none_or(|tip| tip < height + 99) {
                    maturing.insert((height + 99, *txid), ());
                }
            }
            Place::Claimed | Place::Lost | Place::Missed => {}
        }
        for outpoint in tx.inputs().iter().filter(|_| !record.coinbase) {
            spends.entry(*outpoint).or_default().insert(*txid);
        }
    }
    assert_eq!(view.unconfirmed, unconfirmed);
    assert_eq!(view.block_transactions, mined);
    assert_eq!(view.maturing, maturing);
    let indexed: BTreeMap<_, BTreeSet<Txid>> = view
        .spends
        .iter()
        .map(|(outpoint, spenders)| {
            let distinct: BTreeSet<_> = spenders.iter().copied().collect();
            assert_eq!(distinct.len(), spenders.len());
            (*outpoint, distinct)
        })
        .collect();
    assert_eq!(indexed, spends);
}

fn claims(view: &MemoryView) {
    let mut open = BTreeMap::new();
    let mut counts: BTreeMap<InvoiceId, u32> = BTreeMap::new();
    let mut reserved = BTreeSet::new();
    for ((txid, id), claim) in &view.claims {
        if claim.state != ClaimState::Open {
            continue;
        }
        open.insert((claim.claimed.after(Rules::CLAIM), *txid, *id), ());
        *counts.entry(*id).or_default() += 1;
        assert!(view.transactions.contains_key(txid), "a claim without what it broadcasts");
        for (vout, _) in &claim.assignment {
            assert!(reserved.insert((*txid, *vout)), "an output is reserved twice");
        }
    }
    assert_eq!(view.open_claims, open);
    for (id, record) in &view.invoices {
        assert_eq!(record.state.open_claims, counts.get(id).copied().unwrap_or_default());
    }
}

fn answers(view: &MemoryView) {
    let kept: BTreeSet<_> = view.idempotency.keys().cloned().collect();
    let ends: Vec<_> =
        view.idempotency_ends.keys().map(|(_, merchant, key)| (merchant.clone(), key.clone())).collect();
    assert_eq!(ends.len(), kept.len());
    assert_eq!(ends.into_iter().collect::<BTreeSet<_>>(), kept);
}

fn chain(view: &MemoryView, meta: tables::Meta) {
    assert_eq!(view.chain.iter().next_back().map(|(height, hash)| (*height, *hash)), meta.tip);
    let hashes: BTreeSet<BlockHash> = view.chain.values().copied().collect();
    for record in view.transactions.values() {
        if let Place::Block { height, hash } = record.place {
            let on_the_way = meta.under_way == Some((height, hash));
            assert!(on_the_way || hashes.contains(&hash), "in a block that is not on the chain");
        }
    }
    for ((first, _), (second, _)) in view.chain.iter().zip(view.chain.iter().skip(1)) {
        assert_eq!(first + 1, *second);
    }
}
