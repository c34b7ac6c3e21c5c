//! Faults: what each of them does to the node, the wires, the disk, the clock and the daemon.

use anyhow::{Result, anyhow};
use bitcoincash::{BlockHash, Txid};
use jppd::node::{Signal, Topic};

use crate::{
    network::{DEEPEST, Node, Stage},
    plan::{Fault, Reorg},
    world::{Event, Inside, World, short},
};

impl World {
    /// A fault happens.
    pub(crate) fn strike(&mut self, fault: Fault) -> Result<()> {
        let up = self.node.stage == Stage::Up;
        self.say(|| format!("fault     {fault:?}"));
        match fault {
            Fault::Block { part } => {
                if up {
                    self.mine(part)?;
                }
            }
            Fault::Silence(lasts) => {
                self.tally.count("zmq silences");
                self.node.silent_until = self.now + lasts;
            }
            Fault::RpcStorm(lasts) => {
                self.tally.count("rpc storms");
                self.node.storm_until = self.now + lasts;
            }
            Fault::RpcSlow(lasts) => self.node.slow_until = self.now + lasts,
            Fault::Restart { mempool, shorter, down } => {
                if up {
                    self.restart_node(mempool, shorter, down)?;
                }
            }
            Fault::Reorg { depth, mode } => {
                if up {
                    self.reorganise(depth, mode)?;
                }
            }
            Fault::Evict => {
                let mempool = self.node.chain.mempool();
                if let Some(txid) = self.dice.pick(&mempool).copied() {
                    self.tally.count("evictions");
                    self.evict(txid);
                }
            }
            Fault::Kill { down } => {
                self.tally.count("kills");
                self.kill(down)?;
            }
            Fault::KillAtWrite { after, down } => self.kill_at_write = Some((after, down)),
            Fault::DiskFails { landed, lasts } => {
                self.tally.count(if landed {
                    "disk failures, written"
                } else {
                    "disk failures, not written"
                });
                self.disk.set(crate::disk::Condition::Failing { landed });
                self.after(lasts, Event::DiskMended);
            }
            Fault::DiskSlow(lasts) => {
                self.tally.count("disk slow");
                self.slow_disk_until = self.now + lasts;
            }
            Fault::Clock(by) => {
                self.tally.count("clock set while running");
                self.skew += by;
                self.oracle.clock_jumped = true;
            }
            Fault::WrongStart { off, down, lasts } => {
                self.tally.count(if off > 0 {
                    "starts with a clock ahead"
                } else {
                    "starts with a clock behind"
                });
                self.kill(down)?;
                self.skew += off;
                self.oracle.clock_jumped = true;
                self.after(down + lasts, Event::ClockSetRight);
            }
            Fault::NodeClock(by) => {
                if up {
                    self.tally.count("node's clock set");
                    self.restart_node(true, 0, 500)?;
                    self.plan.node_off = (self.plan.node_off + by).clamp(-120_000, 120_000);
                    self.node.truth.clock_sets.push(self.now);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn evict(&mut self, txid: Txid) {
        self.say(|| format!("node      forgets {}", short(&txid)));
        self.node.chain.evict(txid);
        self.published(true);
    }

    pub(crate) fn restart_node(&mut self, mempool: bool, shorter: u32, down: u64) -> Result<()> {
        self.tally.count(if mempool {
            "node restarts with mempool"
        } else {
            "node restarts without mempool"
        });
        self.node.stage = Stage::Down;
        if shorter > 0
            && let Some(hash) = self.takeable(shorter)
        {
            self.tally.count("node restarts with a shorter chain");
            self.invalidate(hash)?;
            let whole = down + self.dice.between(1_500, 8_000);
            self.after(whole, Event::Reconsider(hash));
        }
        if !mempool {
            self.node.chain.clear_mempool();
        }
        // What it would have said is not said.
        self.node.chain.take_events();
        let Node { chain, truth, .. } = &mut self.node;
        truth.forget_absent(chain);
        for topic in [Topic::RawTx, Topic::HashBlock] {
            self.inside_after(1, Inside::Heard(Signal::Disconnected(topic)));
        }
        self.after(down, Event::NodeUp);
        Ok(())
    }

    /// The node goes on with its start.
    pub(crate) fn node_up(&mut self) -> Result<()> {
        self.node.stage = match self.node.stage {
            Stage::Down => Stage::Warming,
            Stage::Warming => Stage::Loading,
            Stage::Loading | Stage::Up => Stage::Up,
        };
        let stage = self.node.stage;
        self.say(|| format!("node      is {stage:?}"));
        match stage {
            Stage::Down => {}
            Stage::Warming | Stage::Loading => self.after(250, Event::NodeUp),
            Stage::Up => {
                for topic in [Topic::RawTx, Topic::HashBlock] {
                    self.inside_after(0, Inside::Heard(Signal::Connected(topic)));
                }
                // Its mempool is published again, as it is read back.
                let again: Vec<_> =
                    self.node.chain.mempool_entries().map(|entry| entry.raw.clone()).collect();
                for raw in again {
                    self.tell(Topic::RawTx, Signal::Transaction { raw });
                }
            }
        }
        Ok(())
    }

    /// The last block that can be taken off with so many at most.
    pub(crate) fn takeable(&self, depth: u32) -> Option<BlockHash> {
        let (_, height) = self.node.chain.tip();
        let least = self.node.floor.max(self.node.highest.saturating_sub(DEEPEST - 1)) + 1;
        let first = (height + 1).saturating_sub(depth).max(least);
        if first > height { None } else { self.node.chain.hash_at(first) }
    }

    pub(crate) fn invalidate(&mut self, hash: BlockHash) -> Result<()> {
        let node_s = self.node_s();
        self.say(|| format!("node      takes back {} and all above", short(&hash)));
        self.node.chain.invalidate(hash, node_s).map_err(|reject| anyhow!("{}", reject.message))
    }

    pub(crate) fn reorganise(&mut self, depth: u32, mode: Reorg) -> Result<()> {
        let Some(hash) = self.takeable(depth) else { return Ok(()) };
        let (_, before) = self.node.chain.tip();
        self.node.partial_until = self.now + 1_500;
        self.invalidate(hash)?;
        let (_, fork) = self.node.chain.tip();
        self.tally.count(match mode {
            Reorg::Rival => "reorgs",
            Reorg::Disconnect => "disconnections",
            Reorg::BackAndForth => "reorgs back and forth",
        });
        self.tally.add("blocks taken back", u64::from(before - fork));
        self.published(true);
        match mode {
            Reorg::Disconnect => {
                if self.dice.chance(500) {
                    let later = self.dice.between(800, 6_000);
                    self.after(later, Event::Reconsider(hash));
                }
            }
            Reorg::Rival | Reorg::BackAndForth => {
                self.mine_rivals();
                while self.node.chain.tip().1 <= before {
                    let part = self.dice.chance(600);
                    self.mine(part)?;
                }
                if let Reorg::BackAndForth = mode {
                    let later = self.dice.between(100, 4_000);
                    self.after(later, Event::Reconsider(hash));
                }
            }
        }
        Ok(())
    }

    /// A branch turns to blocks that were taken back.
    pub(crate) fn reconsider(&mut self, hash: BlockHash) -> Result<()> {
        if self.node.stage != Stage::Up {
            self.after(500, Event::Reconsider(hash));
            return Ok(());
        }
        let Some(height) = self.node.chain.block(hash).map(|block| block.height) else { return Ok(()) };
        let least = self.node.floor.max(self.node.highest.saturating_sub(DEEPEST - 1)) + 1;
        if height < least || self.node.chain.is_active(hash) {
            return Ok(());
        }
        if let Some(active) = self.node.chain.hash_at(height) {
            self.invalidate(active)?;
            self.node.partial_until = self.now + 1_500;
        }
        let node_s = self.node_s();
        self.say(|| format!("node      has {} again", short(&hash)));
        self.node.chain.reconsider(hash, node_s).map_err(|reject| anyhow!("{}", reject.message))?;
        self.published(true);
        Ok(())
    }

    /// No more faults: the node is up, and its chain grows past every height it had.
    pub(crate) fn heal_node(&mut self) -> Result<()> {
        self.node.silent_until = 0;
        self.node.storm_until = 0;
        self.node.slow_until = 0;
        self.node.partial_until = 0;
        while self.node.stage != Stage::Up {
            self.node_up()?;
        }
        let goal = self.node.highest;
        let mut part = self.dice.chance(700);
        while self.node.chain.tip().1 <= goal {
            self.mine(part)?;
            part = true;
        }
        Ok(())
    }
}
