//! The node and the wires to it: the model of a chain, what ZMQ makes of its notifications, what RPC makes of its
//! answers.
//!
//! The node itself is always right. It goes down and comes back, with its mempool or without; its chain turns to another
//! branch, or ends lower than before. The wires lie: a message is dropped, late, twice, or in another order, and whether a
//! gap is noticed depends on what comes after it; a call is refused, is slow, or takes effect and says nothing.
//!
//! Beside the node stands the [`Truth`]: when each transaction first reached it, and since when it has it. The daemon
//! cannot see that. The oracle can.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use bitcoincash::{OutPoint, Transaction, Txid, consensus};
use jppd::node::{NodeError, Reply, Request, SendOutcome, Signal, Snapshot, Topic};
use regtest::chain::{Chain, Event as Published};

use crate::{
    answers::answer,
    defects::Defect,
    purse::{Purse, burnt},
    world::{Actor, Event, Inside, World, short},
};

/// How deep the node reorganises at most.
pub(crate) const DEEPEST: u32 = 10;

/// Where a node is in its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Down,
    Warming,
    Loading,
    Up,
}

/// What really happened to the transactions.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// When each first reached the node: milliseconds of the world, and seconds of the node's clock.
    pub(crate) arrived: BTreeMap<Txid, (u64, u64)>,
    /// When the node's clock was set.
    pub(crate) clock_sets: Vec<u64>,
    /// Since when the node has it without a break, in its mempool or chain.
    pub(crate) present_since: BTreeMap<Txid, u64>,
    /// What was ever spent in a block, by whom.
    pub(crate) mined_spends: BTreeMap<OutPoint, BTreeSet<Txid>>,
    pub(crate) transactions: BTreeMap<Txid, Transaction>,
}

/// The node and its wires.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) chain: Chain,
    pub(crate) truth: Truth,
    pub(crate) stage: Stage,
    /// The greatest height it ever had.
    pub(crate) highest: u32,
    /// The height below which nothing is taken back.
    pub(crate) floor: u32,
    pub(crate) blocks: u32,
    pub(crate) silent_until: u64,
    pub(crate) storm_until: u64,
    pub(crate) slow_until: u64,
    /// Until then snapshots may show a part of the mempool only.
    pub(crate) partial_until: u64,
    /// By topic: when the last message arrives, and whether one was lost since.
    pub(crate) wires: [(u64, bool); 3],
}

impl Node {
    /// A node whose chain holds coins.
    pub(crate) fn new(now_s: u64, coins: usize) -> Result<(Self, Purse)> {
        let mut chain = Chain::new(now_s);
        chain.set_parking(false);
        let purse = Purse::new(&mut chain, now_s, coins)?;
        chain.take_events();
        let (_, height) = chain.tip();
        let node = Self {
            chain,
            truth: Truth::default(),
            stage: Stage::Up,
            highest: height,
            floor: height.saturating_sub(DEEPEST - 2),
            blocks: 0,
            silent_until: 0,
            storm_until: 0,
            slow_until: 0,
            partial_until: 0,
            wires: [(0, false); 3],
        };
        Ok((node, purse))
    }

    /// Whether the node has a transaction, in its mempool or its chain.
    pub(crate) fn has(&self, txid: Txid) -> bool {
        self.chain.mempool_entry(txid).is_some() || self.chain.confirmed(txid).is_some()
    }

    fn payout(&mut self) -> bitcoincash::ScriptBuf {
        self.blocks += 1;
        burnt(self.blocks)
    }
}

impl Truth {
    fn note(&mut self, chain: &Chain, events: &[Published], now: u64, node_s: u64) {
        for event in events {
            let Published::Transaction { txid, raw } = event else { continue };
            self.arrived.entry(*txid).or_insert((now, node_s));
            if !self.transactions.contains_key(txid)
                && let Ok(tx) = consensus::deserialize::<Transaction>(raw)
            {
                self.transactions.insert(*txid, tx);
            }
            if chain.confirmed(*txid).is_some()
                && let Some(tx) = self.transactions.get(txid)
            {
                for input in &tx.input {
                    self.mined_spends.entry(input.previous_output).or_default().insert(*txid);
                }
            }
            if chain.mempool_entry(*txid).is_some() || chain.confirmed(*txid).is_some() {
                self.present_since.entry(*txid).or_insert(now);
            }
        }
    }

    pub(crate) fn forget_absent(&mut self, chain: &Chain) {
        self.present_since
            .retain(|txid, _| chain.mempool_entry(*txid).is_some() || chain.confirmed(*txid).is_some());
    }

    /// Whether the node has had it since a moment, without a break.
    pub(crate) fn had_since(&self, txid: &Txid, since: u64) -> bool {
        self.present_since.get(txid).is_some_and(|from| *from <= since)
    }
}

impl World {
    // What people and miners do to the node.

    /// Hands a transaction to the node, as a peer would. `false` if the node is down.
    pub(crate) fn broadcast(&mut self, raw: &[u8], txid: Txid) -> Result<bool> {
        if self.node.stage != Stage::Up {
            return Ok(false);
        }
        let node_s = self.node_s();
        let sent = self.node.chain.submit(raw, true, node_s);
        self.say(|| match &sent {
            Ok(_) => format!("wallet    broadcasts {}", short(&txid)),
            Err(reject) => format!("wallet    broadcasts {}: {}", short(&txid), reject.message),
        });
        self.published(false);
        Ok(true)
    }

    /// Mines a block with transactions that may be known or not; what cannot be mined is not.
    pub(crate) fn mine_these(&mut self, txs: Vec<Transaction>) {
        if self.node.stage != Stage::Up {
            return;
        }
        let (payout, node_s) = (self.node.payout(), self.node_s());
        let mined = self.node.chain.mine_transactions(txs, &payout, node_s);
        self.say(|| match &mined {
            Ok(hash) => format!("node      block {} with chosen transactions", short(hash)),
            Err(reject) => format!("node      no block: {}", reject.message),
        });
        self.published(true);
    }

    pub(crate) fn mine(&mut self, part: bool) -> Result<()> {
        let (_, below) = self.node.chain.tip();
        let txids = part.then(|| {
            let all = self.node.chain.mempool();
            all.into_iter().filter(|_| self.dice.chance(500)).collect()
        });
        let (payout, node_s) = (self.node.payout(), self.node_s());
        let hash = self.node.chain.mine_with(txids, &payout, node_s);
        let (_, height) = self.node.chain.tip();
        self.tally.count("blocks");
        self.say(|| format!("node      block {} at {height}", short(&hash)));
        self.published(true);
        ensure!(height > below, "the node takes no block of its own");
        Ok(())
    }

    /// Takes note of what the node did, and lets ZMQ tell of it.
    pub(crate) fn published(&mut self, may_shrink: bool) {
        let events = self.node.chain.take_events();
        let (now, node_s) = (self.now, self.node_s());
        let Node { chain, truth, highest, .. } = &mut self.node;
        truth.note(chain, &events, now, node_s);
        if may_shrink {
            truth.forget_absent(chain);
        }
        *highest = (*highest).max(chain.tip().1);
        for event in events {
            match event {
                Published::Transaction { raw, .. } => self.tell(Topic::RawTx, Signal::Transaction { raw }),
                Published::Block { hash, .. } => self.tell(Topic::HashBlock, Signal::Block(hash)),
                Published::DoubleSpend { txid, .. } => self.tell(Topic::HashDs, Signal::DoubleSpend(txid)),
            }
        }
    }

    // ZMQ.

    pub(crate) fn tell(&mut self, topic: Topic, signal: Signal) {
        let wire = match topic {
            Topic::RawTx => 0,
            Topic::HashBlock => 1,
            Topic::HashDs => 2,
        };
        let lost =
            self.now < self.node.silent_until || (self.troubled && self.dice.chance(self.plan.dropped));
        let mut at = self.now + self.dice.between(0, 3);
        if self.troubled && self.dice.chance(self.plan.delayed) {
            self.tally.count("zmq delayed");
            at = self.now + self.dice.between(20, 3_000);
        }
        let reordered = self.troubled && self.dice.chance(self.plan.reordered);
        let repeated = self.troubled && self.dice.chance(self.plan.repeated);
        let Some((last, gap)) = self.node.wires.get_mut(wire) else { return };
        if lost {
            *gap = true;
            self.tally.count("zmq lost");
            return;
        }
        if reordered {
            self.tally.count("zmq reordered");
        } else {
            at = at.max(*last);
            *last = at;
        }
        if std::mem::take(gap) {
            let missing = Signal::Gap { topic, expected: 1, got: 2 };
            self.at(at, Event::Inside(self.life, Inside::Heard(missing)));
        }
        if repeated {
            self.tally.count("zmq repeated");
            let again = self.dice.between(0, 2_000);
            self.at(at + again, Event::Inside(self.life, Inside::Heard(signal.clone())));
        }
        self.at(at, Event::Inside(self.life, Inside::Heard(signal)));
    }

    // RPC.

    /// The daemon asks the node something.
    pub(crate) fn ask(&mut self, who: Actor, request: Request) {
        let (mut there, mut back) = (self.dice.between(0, 2), self.dice.between(0, 3));
        if self.now < self.node.slow_until {
            self.tally.count("rpc slow");
            there += self.dice.below(1_500);
            back += self.dice.below(3_000);
        }
        let rate = match (self.troubled, self.now < self.node.storm_until) {
            (true, true) => 500,
            (true, false) => self.plan.rpc_errors,
            (false, _) => 0,
        };
        let mut lost = false;
        if self.dice.chance(rate) {
            let error = match self.dice.below(6) {
                0 => Some((NodeError::Busy, "rpc queue full")),
                1 => Some((NodeError::Unreachable, "rpc refused")),
                2 => Some((NodeError::WarmingUp, "rpc refused")),
                3 => Some((NodeError::NoAnswer, "rpc lost before its effect")),
                _ => None,
            };
            match error {
                Some((error, what)) => {
                    self.tally.count(what);
                    let delay = if error.effect_possible() { 1_000 } else { back };
                    self.inside_after(delay, Inside::Answered(who, Err(error)));
                    return;
                }
                None => {
                    self.tally.count("rpc lost after its effect");
                    lost = true;
                    back += 1_000;
                }
            }
        }
        self.after(there, Event::Call { life: self.life, who, request, back, lost });
    }

    /// A question reaches the node.
    pub(crate) fn ask_node(
        &mut self,
        life: u32,
        who: Actor,
        request: &Request,
        back: u64,
        lost: bool,
    ) -> Result<()> {
        let reply = match self.node.stage {
            Stage::Down => Err(NodeError::Unreachable),
            Stage::Warming => Err(NodeError::WarmingUp),
            Stage::Loading | Stage::Up => {
                if let Request::Snapshot = request {
                    let (tip, _) = self.node.chain.tip();
                    let reply = Snapshot { loaded: true, tip_before: tip, txids: Vec::new(), tip_after: tip };
                    let look = self.dice.between(0, 2);
                    self.after(look, Event::Snapshot { life, who, reply, looks: 1, back });
                    return Ok(());
                }
                self.execute(life, who, request)?
            }
        };
        let reply = if lost { reply.and(Err(NodeError::Timeout)) } else { reply };
        self.after(back, Event::Inside(life, Inside::Answered(who, reply)));
        Ok(())
    }

    fn execute(&mut self, life: u32, who: Actor, request: &Request) -> Result<Result<Reply, NodeError>> {
        let node_s = self.node_s();
        let alive = self.is_alive(life);
        let sent = if let Request::Send(raw) = request {
            let txid = consensus::deserialize::<Transaction>(raw)?.compute_txid();
            if alive {
                self.is_sent_rightly(who, txid)?;
            }
            Some((txid, self.node.has(txid)))
        } else {
            None
        };
        let mut reply = answer(&mut self.node.chain, request, node_s);
        if let (Some((txid, was_there)), Ok(Reply::Sent(outcome))) = (sent, &mut reply) {
            let taken = matches!(outcome, SendOutcome::Accepted | SendOutcome::AlreadyInChain);
            self.published(false);
            self.oracle.sent(txid, taken, self.now);
            if alive {
                self.was_sent(who, txid, taken);
            }
            let who_said = format!("{who:?}");
            self.say(|| format!("node      is sent {} by {who_said}: {outcome:?}", short(&txid)));
            if self.defect == Some(Defect::RepeatRefused) && was_there {
                *outcome = SendOutcome::Refused {
                    code: -26,
                    message: "txn-already-in-mempool (code 18)".to_owned(),
                };
            }
        }
        match (request, &reply) {
            (Request::MempoolEntry(txid), Ok(Reply::MempoolEntry(Some(_)))) => {
                self.oracle.shown(*txid, self.now);
            }
            (Request::Inputs { txid, .. }, Ok(Reply::Inputs { entry: Some(_), .. })) => {
                self.oracle.shown(*txid, self.now);
            }
            (Request::DoubleSpendProofs, Ok(_)) if alive => self.oracle.proofs_shown(self.now),
            (Request::Block(_), _)
                if self.defect == Some(Defect::RecallSkipped) && self.is_recalling(life) =>
            {
                reply = Ok(Reply::Block(None));
            }
            _ => {}
        }
        Ok(reply)
    }

    /// One more look of a snapshot: first at the mempool, then at the tip.
    pub(crate) fn look(
        &mut self,
        life: u32,
        who: Actor,
        mut reply: Snapshot,
        looks: u8,
        back: u64,
    ) -> Result<()> {
        if matches!(self.node.stage, Stage::Down | Stage::Warming) {
            self.after(back, Event::Inside(life, Inside::Answered(who, Err(NodeError::NoAnswer))));
            return Ok(());
        }
        if looks == 1 {
            reply.loaded = self.node.stage == Stage::Up;
            reply.txids = self.node.chain.mempool();
            if self.now < self.node.partial_until && self.dice.chance(500) {
                self.tally.count("partial snapshots");
                let left = self.dice.below(reply.txids.len() as u64 + 1);
                reply.txids.truncate(usize::try_from(left)?);
            }
            for txid in &reply.txids {
                self.oracle.shown(*txid, self.now);
            }
            let look = self.dice.between(0, 2);
            self.after(look, Event::Snapshot { life, who, reply, looks: 2, back });
            return Ok(());
        }
        let (tip, _) = self.node.chain.tip();
        if self.is_alive(life) {
            self.snapshot_taken(&reply, tip);
        }
        reply.tip_after = if self.defect == Some(Defect::TipNotRechecked) { reply.tip_before } else { tip };
        self.after(back, Event::Inside(life, Inside::Answered(who, Ok(Reply::Snapshot(reply)))));
        Ok(())
    }
}
