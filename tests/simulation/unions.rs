//! Submissions of several transactions while the chain moves between two of their steps.

use anyhow::{Context as _, Result, ensure};
use bitcoincash::{OutPoint, Transaction, consensus};
use jppd::{
    invoice::InvoiceId,
    ledger::{
        EventKind::{PartialPayment, PaymentReceived},
        Reads,
        tables::Transactions,
    },
    node::{NodeError, Request},
    submit::{Accepted, FamilyFault, InputFault, Step, SubmitError},
};
use regtest::wallet::{PayOptions, Payment};

use crate::town::{Town, address_of, nobody, txid};

/// An invoice for two outputs, and two transactions that pay one each; the second spends the change of the first.
struct Pair {
    id: InvoiceId,
    parent: Transaction,
    child: Transaction,
}

impl Pair {
    fn new(town: &mut Town) -> Result<Self> {
        Self::with(town, PayOptions::default())
    }

    /// The parent is made in this way.
    fn with(town: &mut Town, options: PayOptions) -> Result<Self> {
        let script = nobody(150);
        let parent = town.payer.pay(&[Payment::new(address_of(&script)?.as_str(), 10_000)], options)?;
        let child = town.sweep(&[OutPoint { txid: txid(&parent), vout: 1 }])?;
        let output = child.output[0].clone();
        let id = town.invoice_of(&[(script, 10_000), (output.script_pubkey, output.value.to_sat())])?;
        Ok(Self { id, parent, child })
    }

    /// As a wallet may send them: the child first.
    fn both(&self) -> [&Transaction; 2] {
        [&self.child, &self.parent]
    }

    fn change(&self) -> OutPoint {
        OutPoint { txid: txid(&self.parent), vout: 1 }
    }
}

fn sends(tx: &Transaction) -> impl Fn(&Step) -> bool {
    let wanted = consensus::serialize(tx);
    move |step| matches!(step, Step::Ask(Request::Send(raw)) if **raw == *wanted)
}

#[test]
fn parents_go_first_whatever_the_order() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    for alone in pair.both() {
        ensure!(matches!(town.pay(pair.id, alone)?, Err(SubmitError::Refused(_))), "one alone is not enough");
    }
    let begun = town.now();
    ensure!(town.pay_all(pair.id, &pair.both())? == Ok(Accepted::Credited));
    ensure!(town.now() == begun, "nobody waits for a parent that is there");
    ensure!(town.chain.mempool() == [txid(&pair.parent), txid(&pair.child)]);
    ensure!(town.status(pair.id)? == "paid" && town.statement(pair.id)?.state.open_claims == 0);
    // The same again, in any order and in part, is the same success, and nothing happens.
    let before = town.view.clone();
    for again in [&[&pair.parent, &pair.child][..], &pair.both(), &[&pair.child], &[&pair.parent]] {
        ensure!(town.pay_all(pair.id, again)? == Ok(Accepted::Credited));
    }
    ensure!(town.view == before);
    town.hear()?;
    town.pass()?;
    ensure!(town.news(pair.id)? == [PartialPayment, PaymentReceived]);
    Ok(())
}

/// A parent that pays nothing here may come along, and is kept until its child is safe.
#[test]
fn a_parent_may_come_along() -> Result<()> {
    let mut town = Town::open()?;
    let (_, elsewhere) = town.fresh_invoice(5_000)?;
    let parent = town.sign(&elsewhere, 5_000)?;
    let (id, child) = town.invoice_swept(&[OutPoint { txid: txid(&parent), vout: 1 }])?;
    ensure!(town.pay_all(id, &[&child, &parent])? == Ok(Accepted::Credited));
    ensure!(town.news(id)? == [PaymentReceived]);
    ensure!(town.pay_all(id, &[&child, &parent])? == Ok(Accepted::Credited));
    // The same with a parent that the network knows already.
    town.mine()?;
    town.pass()?;
    ensure!(town.pay_all(id, &[&child, &parent])? == Ok(Accepted::Credited));
    Ok(())
}

/// A rival of the second one enters after the first one was taken: that one stays, the second is released, and a
/// repetition goes on from there.
#[test]
fn what_was_taken_before_a_refusal_stays() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    let payment = town.begin_payments(pair.id, &pair.both())?;
    let payment = town.until(payment, sends(&pair.child))?;
    ensure!(town.statement(pair.id)?.state.open_claims == 1, "the first one has arrived");
    let rival = town.payer.double_spend(&pair.child, PayOptions::default())?;
    town.broadcast(&rival)?;
    let end = town.finish(payment)?;
    ensure!(matches!(&end, Err(SubmitError::RefusedByNode(words)) if words.contains("conflict")), "{end:?}");
    let statement = town.statement(pair.id)?;
    ensure!(statement.state.open_claims == 0 && statement.credits.len() == 1);
    ensure!(town.status(pair.id)? == "pending" && town.news(pair.id)? == [PartialPayment]);

    // As long as the rival is there the same is refused again, and nothing is counted twice.
    let missing = Err(SubmitError::Inputs(InputFault::Missing(pair.change())));
    ensure!(town.pay_all(pair.id, &pair.both())? == missing);
    ensure!(town.news(pair.id)? == [PartialPayment]);
    town.chain.evict(txid(&rival));
    ensure!(town.pay_all(pair.id, &pair.both())? == Ok(Accepted::Credited));
    ensure!(town.status(pair.id)? == "paid" && town.news(pair.id)? == [PartialPayment, PaymentReceived]);
    Ok(())
}

/// If the first one is refused, none of them is sent.
#[test]
fn a_refused_parent_takes_its_child_with_it() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    let payment = town.begin_payments(pair.id, &pair.both())?;
    let payment = town.until(payment, sends(&pair.parent))?;
    ensure!(town.statement(pair.id)?.state.open_claims == 2, "both are claimed before anything is sent");
    let rival = town.payer.double_spend(&pair.parent, PayOptions::default())?;
    town.broadcast(&rival)?;
    ensure!(matches!(town.finish(payment)?, Err(SubmitError::RefusedByNode(_))));
    ensure!(town.chain.mempool() == [txid(&rival)]);
    for tx in pair.both() {
        ensure!(Reads::<Transactions>::get(&town.view, &txid(tx))?.is_none(), "what nobody has is not kept");
    }
    ensure!(town.statement(pair.id)?.state.open_claims == 0 && town.news(pair.id)?.is_empty());
    Ok(())
}

/// The program dies between the two broadcasts. What is left is claimed, is not sent by itself, and a repetition
/// takes it up.
#[test]
fn a_crash_in_the_middle_loses_nothing() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    let payment = town.begin_payments(pair.id, &pair.both())?;
    town.until(payment, sends(&pair.child))?;
    town.restart();
    town.hear()?;
    for _ in 0..3 {
        town.pass()?;
    }
    ensure!(town.chain.mempool() == [txid(&pair.parent)] && town.news(pair.id)? == [PartialPayment]);
    ensure!(town.statement(pair.id)?.state.open_claims == 1);
    ensure!(town.pay_all(pair.id, &pair.both())? == Ok(Accepted::Credited));
    ensure!(town.status(pair.id)? == "paid" && town.news(pair.id)? == [PartialPayment, PaymentReceived]);

    // It may die before the first broadcast, or with the first answer on its lips.
    for delivered in [false, true] {
        let mut town = Town::open()?;
        let pair = Pair::new(&mut town)?;
        let payment = town.begin_payments(pair.id, &pair.both())?;
        town.until(payment, sends(&pair.parent))?;
        if delivered {
            town.broadcast(&pair.parent)?;
        }
        town.restart();
        town.pass()?;
        ensure!(town.pay_all(pair.id, &pair.both())? == Ok(Accepted::Credited));
        ensure!(town.news(pair.id)? == [PartialPayment, PaymentReceived], "{delivered}");
    }
    Ok(())
}

/// The node goes away with the second transaction: had it or not, the claim stays and the same request ends well.
#[test]
fn no_answer_in_the_middle_releases_nothing() -> Result<()> {
    for delivered in [false, true] {
        let mut town = Town::open()?;
        let pair = Pair::new(&mut town)?;
        let payment = town.begin_payments(pair.id, &pair.both())?;
        let payment = town.until(payment, sends(&pair.child))?;
        if delivered {
            town.broadcast(&pair.child)?;
        }
        ensure!(town.fail(payment, NodeError::NoAnswer)? == Err(SubmitError::NodeAway));
        ensure!(town.statement(pair.id)?.state.open_claims == 1);
        if delivered {
            town.hear()?;
            ensure!(town.status(pair.id)? == "paid", "it is found all the same");
        }
        ensure!(town.pay_all(pair.id, &pair.both())? == Ok(Accepted::Credited));
        ensure!(town.news(pair.id)? == [PartialPayment, PaymentReceived], "{delivered}");
        ensure!(town.statement(pair.id)?.state.open_claims == 0);
    }
    Ok(())
}

/// Somebody else broadcasts both between the claim and our broadcast.
#[test]
fn what_entered_by_itself_is_not_sent_again() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    let payment = town.begin_payments(pair.id, &pair.both())?;
    let payment = town.until(payment, sends(&pair.parent))?;
    town.broadcast(&pair.parent)?;
    town.broadcast(&pair.child)?;
    town.hear()?;
    // The first is asked for already; what the node says of it is that it has it.
    let payment = town.until(payment, |step| matches!(step, Step::Apply(_)))?;
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));
    ensure!(town.news(pair.id)? == [PartialPayment, PaymentReceived]);
    Ok(())
}

#[test]
fn each_one_pays_its_own_fee() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::with(&mut town, PayOptions { fee: Some(100), ..PayOptions::default() })?;
    let before = town.view.clone();
    let end = town.pay_all(pair.id, &pair.both())?;
    ensure!(matches!(end, Err(SubmitError::Fee { paid: 100, .. })), "{end:?}");
    ensure!(town.chain.mempool().is_empty() && town.view == before);
    Ok(())
}

#[test]
fn what_does_not_go_together_is_refused_as_a_whole() -> Result<()> {
    let mut town = Town::open()?;
    let pair = Pair::new(&mut town)?;
    let rival = town.payer.double_spend(&pair.child, PayOptions::default())?;
    let before = town.view.clone();
    let refused = |fault| Err(SubmitError::Family(fault));
    ensure!(
        town.pay_all(pair.id, &[&pair.child, &pair.parent, &rival])?
            == refused(FamilyFault::Conflict(pair.change()))
    );
    ensure!(
        town.pay_all(pair.id, &[&pair.child, &pair.parent, &pair.child])?
            == refused(FamilyFault::Repeated(txid(&pair.child)))
    );
    ensure!(town.pay_all(pair.id, &[])? == refused(FamilyFault::Number(0)));
    // An output that a parent of the submission does not have is nowhere.
    let mut astray = pair.child.clone();
    let beyond = OutPoint { vout: 7, ..pair.change() };
    astray.input.first_mut().context("an input")?.previous_output = beyond;
    ensure!(
        town.pay_all(pair.id, &[&astray, &pair.parent])?
            == Err(SubmitError::Inputs(InputFault::Missing(beyond)))
    );
    ensure!(town.chain.mempool().is_empty() && town.view == before);
    Ok(())
}

/// Two submissions share a transaction, and the node refuses what only one of them has: the other keeps its claim.
#[test]
fn a_refusal_takes_nothing_from_another_submission() -> Result<()> {
    let mut town = Town::open()?;
    let scripts = [nobody(160), nobody(161)];
    let id = town.invoice_of(&[(scripts[0].clone(), 10_000), (scripts[1].clone(), 20_000)])?;
    let options = PayOptions { confirmed_only: true, ..PayOptions::default() };
    let mut sign = |number: usize, satoshis| {
        let payment = Payment::new(address_of(&scripts[number])?.as_str(), satoshis);
        town.payer.pay(&[payment], options)
    };
    let (first, second) = (sign(0, 10_000)?, sign(1, 20_000)?);
    let mut forged = town.payer.double_spend(&first, PayOptions::default())?;
    forged.output = first.output.clone();
    let payment = town.begin_payments(id, &[&first, &second])?;
    let payment = town.until(payment, sends(&first))?;
    let refused = town.pay_all(id, &[&forged, &second])?;
    ensure!(matches!(refused, Err(SubmitError::RefusedByNode(_))), "{refused:?}");
    ensure!(town.statement(id)?.state.open_claims == 2, "what was claimed before stays claimed");
    ensure!(town.finish(payment)? == Ok(Accepted::Credited));
    ensure!(town.status(id)? == "paid" && town.statement(id)?.state.open_claims == 0);
    Ok(())
}
