//! How safe a payment is that is not in a block.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Answer, FollowError, Memory, Step};
use crate::{
    bch::{ProofScore, Txid},
    invoice::{CreditState, Level},
    ledger::{self, Action, ReadError, Reads, View, tables::Invoices},
    node::{Reply, Request},
};

/// Asks the node how well double spend proofs protect a payment: once, and once more after each block as long as that is
/// not the best there is, for ancestors that are mined weigh no more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appraisal {
    txid: Txid,
}

impl Appraisal {
    /// The appraisal of a tracked transaction, if it needs one.
    pub(super) fn of<V: View>(txid: Txid, memory: &Memory, view: &V) -> Result<Option<Self>, ReadError> {
        if memory.is_appraised(&txid) || !memory.may_appraise() {
            return Ok(None);
        }
        Ok(match need(txid, view)? {
            Need::Yes => Some(Self { txid }),
            Need::NotYet => None,
            Need::No => {
                memory.appraised(txid);
                None
            }
        })
    }

    /// Takes an answer and says what is next.
    pub(super) fn on(&mut self, answer: Answer, memory: &Memory) -> Result<Step<()>, FollowError> {
        match answer {
            Answer::Begin => Ok(Step::Ask(Request::ProofScore(self.txid))),
            Answer::Node(Reply::ProofScore(score)) => {
                memory.appraised(self.txid);
                Ok(Step::Apply(Box::new(Action::Appraised { txid: self.txid, score })))
            }
            Answer::Applied(_) => Ok(Step::Done(())),
            Answer::Node(_) | Answer::Decoded(_) => Err(FollowError::Confused),
        }
    }
}

/// Whether the node's score of a transaction is needed.
enum Need {
    /// No score is needed before the next block.
    No,
    /// No score is needed yet. Either the transaction pays no invoice, and a merchant may still say which invoice it is
    /// for; or it pays a part of an invoice, and may later be among the transactions that settle it.
    NotYet,
    /// The score is needed: the transaction settles an invoice, which shows the score, or an invoice that asks for a
    /// score holds the payment.
    Yes,
}

/// Whether the score of a transaction is needed. Dust that settles nothing needs no score: the node delays all other
/// work while it computes one.
fn need<V: View>(txid: Txid, view: &V) -> Result<Need, ReadError> {
    let credits = ledger::tracked(view, txid)?.map(|(_, credits)| credits).unwrap_or_default();
    let mut need = if credits.is_empty() { Need::NotYet } else { Need::No };
    for credit in credits.iter().filter(|credit| credit.risk.score != Some(ProofScore::FULL)) {
        let Some(record) = Reads::<Invoices>::get(view, &credit.invoice)? else { continue };
        let waits_for_score = record.invoice.zero_conf.is_some_and(|asked| asked.min_score.thousandths() > 0);
        let settles = match (credit.state, record.state.level) {
            (CreditState::Held, _) if waits_for_score => true,
            (_, Level::Unpaid | Level::Held) => {
                need = Need::NotYet;
                false
            }
            (_, Level::Paid | Level::Confirmed) => {
                let settlement = ledger::statement(view, credit.invoice)?
                    .and_then(|statement| statement.standing().settlement);
                settlement.is_some_and(|settlement| settlement.txids.contains(&txid))
            }
        };
        if settles {
            return Ok(Need::Yes);
        }
    }
    Ok(need)
}

/// How much of the node's time may go into scores: a second in ten.
#[derive(Debug, Default)]
pub(super) struct Budget {
    /// When each answer came, and how long it took, the oldest first.
    spent: VecDeque<(Instant, Duration)>,
    sum: Duration,
}

impl Budget {
    /// How long back is looked.
    const WINDOW: Duration = Duration::from_secs(10);

    /// The time that may be spent within it. The answer that exceeds it is the last one.
    const MOST: Duration = Duration::from_secs(1);

    /// Notes that an answer came at a moment, after so long.
    pub(super) fn spend(&mut self, now: Instant, took: Duration) {
        self.spent.push_back((now, took));
        self.sum = self.sum.saturating_add(took);
    }

    /// Whether there is time left for another answer at a moment.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        while let Some((at, took)) = self.spent.front().copied()
            && now.saturating_duration_since(at) >= Self::WINDOW
        {
            self.spent.pop_front();
            self.sum = self.sum.saturating_sub(took);
        }
        self.sum < Self::MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_in_ten() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut budget = Budget::default();
        let mut at = start;
        let mut asked = 0;
        // Answers of 67 ms, as many as are allowed, for a minute.
        while at < start + Duration::from_secs(60) {
            if budget.allows(at) {
                at += ms(67);
                budget.spend(at, ms(67));
                asked += 1;
            } else {
                at += ms(10);
            }
        }
        // 15 of them are the first that come to a second.
        assert_eq!(asked, 6 * 15);
        assert!(budget.allows(at + Budget::WINDOW), "what is long ago does not count");
        assert!(budget.spent.is_empty() && budget.sum.is_zero());
    }
}
