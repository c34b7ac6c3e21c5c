//! Payments: the ways in which an invoice is paid, or not.

use anyhow::Result;
use bitcoincash::{ScriptBuf, TxOut, Txid};
use jppd::invoice::InvoiceId;

use crate::{
    people::Deed,
    purse::Signed,
    world::{Event, World},
};

impl World {
    pub(crate) fn plan_payments(&mut self, id: InvoiceId, number: u32) -> Result<()> {
        let Some(job) = self.people.jobs.get(&number).cloned() else { return Ok(()) };
        if self.dice.chance(60) {
            let later = self.dice.between(0, 3_000);
            self.after(later, Event::Do(Deed::Cancel(id)));
        }
        if self.dice.chance(80) {
            let later = self.dice.between(2_000, 9_000);
            self.after(later, Event::Do(Deed::Assign(id)));
        }
        let exact = self.people.outputs(&job.asked);
        let delay =
            if self.dice.chance(450) { self.dice.between(0, 80) } else { self.dice.between(100, 4_000) };
        let spend = self.dice.chance(400);
        let submit = |txids: Vec<Txid>| Event::Do(Deed::Submit { invoice: id, txids, tries: 0 });
        let broadcast = |txid: Txid| Event::Do(Deed::Broadcast(txid));
        match self.dice.below(19) {
            0 | 1 => {
                let tx = self.payment(exact, spend)?;
                self.after(delay, broadcast(tx));
            }
            2 | 3 => {
                let tx = self.payment(exact, spend)?;
                self.after(delay, submit(vec![tx]));
            }
            4 => {
                // In two parts; what has tokens, or several outputs, one after the other.
                let (mut first, mut second) = (exact.clone(), Vec::new());
                if first.len() > 1 {
                    second = first.split_off(1);
                } else if let Some(output) = first.first_mut().filter(|output| output.token.is_none()) {
                    let mut rest = output.clone();
                    output.value = bitcoincash::Amount::from_sat(output.value.to_sat() / 2);
                    rest.value -= output.value;
                    second.push(rest);
                }
                let first = self.payment(first, spend)?;
                self.after(delay, broadcast(first));
                if !second.is_empty() && self.dice.chance(700) {
                    let second = self.payment(second, false)?;
                    let later = delay + self.dice.between(0, 3_000);
                    self.after(later, broadcast(second));
                }
            }
            5 => {
                let mut over = exact;
                if let Some(output) = over.first_mut() {
                    output.value += bitcoincash::Amount::from_sat(999);
                }
                let tx = self.payment(over, spend)?;
                self.after(delay, broadcast(tx));
            }
            6 => {
                let late = job.expires_in.min(9_000) + self.dice.between(100, 5_000);
                let tx = self.payment(exact, spend)?;
                let event = if self.dice.chance(500) { broadcast(tx) } else { submit(vec![tx]) };
                self.after(late, event);
            }
            7 => {
                for _ in 0..2 {
                    let tx = self.payment(exact.clone(), spend)?;
                    let later = delay + self.dice.between(0, 1_500);
                    let event = if self.dice.chance(600) { broadcast(tx) } else { submit(vec![tx]) };
                    self.after(later, event);
                }
            }
            8 => {
                let tx = self.payment(exact, spend)?;
                self.after(delay, broadcast(tx));
                let later = delay + self.dice.between(0, 2_500);
                self.after(later, submit(vec![tx]));
            }
            9 => {
                let tx = self.payment(exact, spend)?;
                let later = delay + self.dice.between(0, 30);
                self.after(later, broadcast(tx));
                self.after(delay + 10, submit(vec![tx]));
            }
            10 => {
                let mut all = exact;
                if let Some((_, other)) = self.dice.pick(&self.people.known).copied()
                    && other != number
                    && let Some(other) = self.people.jobs.get(&other)
                {
                    all.extend(self.people.outputs(&other.asked));
                }
                // One coin of tokens is enough for one category.
                let tx = self.payment(all, spend)?;
                let event = if self.dice.chance(500) { broadcast(tx) } else { submit(vec![tx]) };
                self.after(delay, event);
            }
            11 => self.pay_by_chain(id, exact, delay)?,
            12 => {
                let tx = self.payment(exact, false)?;
                let rival = self.people.rival(tx)?;
                self.after(delay, broadcast(tx));
                let later = delay + self.dice.between(10, 1_200);
                self.after(later, broadcast(rival));
                if self.dice.chance(500) {
                    let mined = later + self.dice.between(10, 5_000);
                    self.after(mined, Event::Do(Deed::Mine(vec![rival])));
                }
            }
            13 => {
                let tx = self.payment(exact, false)?;
                let rival = self.people.rival(tx)?;
                let event = if self.dice.chance(500) { broadcast(tx) } else { submit(vec![tx]) };
                self.after(delay, event);
                let later = delay + self.dice.between(100, 4_000);
                self.after(later, Event::Do(Deed::Replace(tx, rival)));
            }
            14 => {
                let tx = self.payment(exact, false)?;
                let rival = self.people.rival(tx)?;
                let event = if self.dice.chance(500) { broadcast(tx) } else { submit(vec![tx]) };
                self.after(delay, event);
                let later = delay + self.dice.between(0, 60);
                self.after(later, Event::Do(Deed::Mine(vec![rival])));
            }
            15 => {
                let tx = self.payment(exact, spend)?;
                self.after(delay, submit(vec![tx]));
                if let Some((other, _)) = self.dice.pick(&self.people.known).copied() {
                    let later = delay + self.dice.between(0, 800);
                    self.after(later, Event::Do(Deed::Submit { invoice: other, txids: vec![tx], tries: 0 }));
                }
            }
            16 => {
                let mut less = exact.clone();
                if let Some(output) = less.first_mut() {
                    output.value -= bitcoincash::Amount::from_sat(1);
                }
                let wrong = self.payment(less, false)?;
                self.after(delay, submit(vec![wrong]));
                let tx = self.payment(exact, spend)?;
                let later = delay + self.dice.between(0, 2_000);
                self.after(later, submit(vec![tx]));
            }
            17 => {
                // A signature that is none, and then a good one.
                let tx = self.payment(exact.clone(), false)?;
                if let Some((signed, coins)) = self.people.signed.get(&tx).cloned() {
                    let mut tx = signed.tx;
                    if let Some(input) = tx.input.first_mut() {
                        let mut script = input.script_sig.to_bytes();
                        if let Some(byte) = script.get_mut(20) {
                            *byte ^= 1;
                        }
                        input.script_sig = ScriptBuf::from_bytes(script);
                    }
                    let raw = bitcoincash::consensus::serialize(&tx).into();
                    let forged = self.people.keep(Signed { raw, txid: tx.compute_txid(), tx }, coins);
                    self.after(delay, submit(vec![forged]));
                }
                let later = delay + self.dice.between(0, 2_000);
                self.after(later, submit(vec![tx]));
            }
            _ => {
                let tx = self.payment(exact, false)?;
                self.after(delay, Event::Do(Deed::Mine(vec![tx])));
            }
        }
        Ok(())
    }

    pub(crate) fn payment(&mut self, outputs: Vec<TxOut>, spend_change: bool) -> Result<Txid> {
        self.tally.count("payments");
        self.people.pay(outputs, spend_change)
    }

    /// A parent that pays nobody, and a child that pays; or the payment in the parent, and a child that moves on.
    pub(crate) fn pay_by_chain(&mut self, id: InvoiceId, exact: Vec<TxOut>, delay: u64) -> Result<()> {
        let coin = self.people.purse.coin()?;
        let parent = self.people.purse.pay(&[coin], Vec::new())?;
        let mut change = self.people.purse.coins_of(&parent);
        let parent = self.people.keep(parent, vec![coin]);
        if exact.iter().any(|output| output.token.is_some()) {
            change.push(self.people.purse.token_coin()?);
        }
        let child = self.people.purse.pay(&change, exact)?;
        let child = self.people.keep(child, change);
        self.tally.count("payments");
        match self.dice.below(3) {
            0 => {
                self.after(delay, Event::Do(Deed::Broadcast(parent)));
                self.after(delay + 5, Event::Do(Deed::Broadcast(child)));
            }
            1 => {
                // The child comes first, and is an orphan for a while.
                self.after(delay, Event::Do(Deed::Submit { invoice: id, txids: vec![child], tries: 0 }));
                let later = delay + self.dice.between(0, 2_500);
                self.after(later, Event::Do(Deed::Broadcast(parent)));
            }
            _ => {
                let txids = vec![child, parent];
                self.after(delay, Event::Do(Deed::Submit { invoice: id, txids, tries: 0 }));
            }
        }
        if self.dice.chance(300) {
            let rival = self.people.rival(parent)?;
            let later = delay + self.dice.between(200, 5_000);
            self.after(later, Event::Do(Deed::Mine(vec![rival])));
        }
        Ok(())
    }

    /// A branch that takes over may hold what conflicts with what was paid.
    pub(crate) fn mine_rivals(&mut self) {
        let rival = self.dice.pick(&self.people.rivals).copied();
        if let Some(signed) = rival.filter(|_| self.dice.chance(400)).and_then(|txid| self.people.raw(&txid))
        {
            let tx = signed.tx.clone();
            self.mine_these(vec![tx]);
        }
    }
}
