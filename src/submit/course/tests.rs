//! How the inputs of a transaction are asked for: in batches, in order, and again from the batch that has an unknown one.

use super::*;
use crate::{
    bch::FeeRate,
    invoice::{Draft, InvoiceId, Merchant, PayerNote, RequiredOutput, Timestamp, Via},
    ledger::{Creation, Input, MemoryView, apply},
    node::Coin,
    submit::fixture::{coin, p2pkh, spending},
};

const PRICE: u64 = 5_000;

fn now() -> Reading {
    Reading::of_wall(Timestamp::from_secs(1_800_000_000))
}

/// A course of a transaction of 120 inputs that pays an invoice with its second output, and a hundred others.
struct Till {
    view: MemoryView,
    sightings: Sightings,
    course: Course,
    tx: Arc<Transaction>,
}

impl Till {
    fn begin() -> (Self, Step) {
        let inputs: Vec<_> = (1..=120).map(|tag| (coin(tag), &b""[..])).collect();
        let outputs: Vec<u64> =
            (0..100).map(|number| if number == 1 { PRICE } else { 600 + number }).collect();
        let tx = spending(&inputs, &outputs).shared();
        let mut view = MemoryView::default();
        let invoice = InvoiceId::from_bytes([1; 16]);
        let script = tx.outputs()[1].script.clone();
        let asked = RequiredOutput {
            address: String::new(),
            script,
            satoshis: PRICE,
            token: None,
            description: None,
        };
        let draft = Draft {
            outputs: vec![asked],
            memo: None,
            merchant_data: None,
            lasts: Duration::from_secs(900),
            fee_rate: FeeRate::default(),
            confirmations_required: 1,
            zero_conf: None,
        };
        let creation = Creation { id: invoice, merchant: Merchant::named("shop"), draft, idempotency: None };
        let input = Input { at: now(), action: Action::Create(Box::new(creation)) };
        view.commit(apply(&view, &Rules::default(), input).unwrap().changes);
        let submission = Submission {
            invoice,
            transactions: vec![tx.clone()],
            note: PayerNote::default(),
            via: Via::Api,
            weighted_size: None,
        };
        let course = Course::verify(submission, Arc::new(Rules::default()));
        let mut till = Self { view, sightings: Sightings::default(), course, tx };
        let step = till.on(Answer::Begin);
        (till, step)
    }

    fn on(&mut self, answer: Answer) -> Step {
        let order = Order(u64::from(u32::MAX));
        let moment = Moment { now: now(), order, sightings: &self.sightings, covered: true };
        self.course.on(answer, &self.view, moment).unwrap()
    }

    /// The node has all of these coins but one.
    fn answer(&mut self, asked: &[OutPoint], missing: Option<OutPoint>) -> Step {
        let there = |outpoint: &OutPoint| {
            let Output { satoshis, script, .. } = p2pkh(10_000);
            let coin = Coin { satoshis, script, token: None, confirmations: 1, coinbase: false };
            (Some(*outpoint) != missing).then_some(coin)
        };
        let coins = asked.iter().map(there).collect();
        self.on(Answer::Node(Ok(Reply::Inputs { entry: None, coins })))
    }
}

/// Returns the inputs that a step asks for.
fn asked(step: &Step) -> Vec<OutPoint> {
    let Step::Ask(Request::Inputs { outpoints, .. }) = step else { panic!("{step:?}") };
    outpoints.clone()
}

fn coins(tags: std::ops::RangeInclusive<u8>) -> Vec<OutPoint> {
    tags.map(coin).collect()
}

#[test]
fn inputs_are_asked_for_in_batches_and_in_order() {
    let (mut till, mut step) = Till::begin();
    for batch in [coins(1..=50), coins(51..=100), coins(101..=120)] {
        assert_eq!(asked(&step), batch);
        step = till.answer(&batch, None);
    }
    // The course asks for the node's present fee floor once, when everything else is known.
    assert!(matches!(step, Step::Ask(Request::FeeFloor)), "{step:?}");
    let step = till.on(Answer::Node(Ok(Reply::FeeFloor(1_000))));
    assert!(matches!(step, Step::Done(Ok(Accepted::Valid))), "{step:?}");
}

#[test]
fn at_an_unknown_one_the_node_is_left_alone_and_asked_again_from_there() {
    let (mut till, step) = Till::begin();
    let step = till.answer(&asked(&step), None);
    let gone = coin(70);
    let step = till.answer(&asked(&step), Some(gone));
    assert!(matches!(step, Step::Pause(pause) if pause == Duration::from_secs(1)), "{step:?}");
    let again = till.on(Answer::Paused);
    assert_eq!(asked(&again), coins(51..=100));

    // The unknown input has come: the course asks for the rest.
    let (mut other, step) = Till::begin();
    let step = other.answer(&asked(&step), None);
    other.answer(&asked(&step), Some(gone));
    let again = other.on(Answer::Paused);
    let rest = other.answer(&asked(&again), None);
    assert_eq!(asked(&rest), coins(101..=120));

    // The unknown input has not come: of the 100 outputs of the transaction, the course asks for
    // the one that the invoice requires.
    let step = till.answer(&asked(&again), Some(gone));
    let Step::Ask(Request::Unspent { outpoints, include_mempool: false }) = step else { panic!("{step:?}") };
    assert_eq!(outpoints, [till.tx.outpoint(1)]);
    let step = till.on(Answer::Node(Ok(Reply::Unspent(vec![None]))));
    assert!(matches!(step, Step::Ask(Request::BestBlock)), "{step:?}");
}

#[test]
fn a_second_unknown_one_is_not_waited_for() {
    let (mut till, step) = Till::begin();
    let first = coin(3);
    till.answer(&asked(&step), Some(first));
    let again = till.on(Answer::Paused);
    assert_eq!(asked(&again), coins(1..=50));
    let step = till.answer(&asked(&again), None);
    let step = till.answer(&asked(&step), Some(coin(60)));
    assert!(matches!(step, Step::Ask(Request::Unspent { .. })), "{step:?}");
}
