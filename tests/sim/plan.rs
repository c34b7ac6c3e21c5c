//! What a seed has in store: which faults, how often, and when.
//!
//! No seed has everything. Each draws a few kinds of fault and leaves the others out, so that what one fault hides
//! another seed shows; some have none at all, and there the plain course of payment must be right to the letter.

use crate::dice::Dice;

/// What happens at one moment, beside what people do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// A block is found, with all of the mempool or a part of it.
    Block { part: bool },
    /// ZMQ says nothing for so many milliseconds.
    Silence(u64),
    /// RPC fails often, for so many milliseconds.
    RpcStorm(u64),
    /// RPC answers late, for so many milliseconds.
    RpcSlow(u64),
    /// The node ends and comes back.
    Restart { mempool: bool, shorter: u32, down: u64 },
    /// The last blocks are replaced by others, or taken off.
    Reorg { depth: u32, mode: Reorg },
    /// A transaction leaves the mempool.
    Evict,
    /// The program is killed.
    Kill { down: u64 },
    /// The program is killed at one of its next writes.
    KillAtWrite { after: bool, down: u64 },
    /// The disk fails for so many milliseconds.
    DiskFails { landed: bool, lasts: u64 },
    /// The disk is slow for so many milliseconds.
    DiskSlow(u64),
    /// The wall clock is set, by so many milliseconds.
    Clock(i64),
    /// The program is killed, and the wall clock is off by so many milliseconds when it begins; right after a while.
    WrongStart { off: i64, down: u64, lasts: u64 },
    /// The node is restarted, and its clock is set by so many milliseconds.
    NodeClock(i64),
}

/// How a chain changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reorg {
    /// Another branch, longer by one, with a part of what was mined.
    Rival,
    /// Blocks are taken off and nothing takes their place.
    Disconnect,
    /// Blocks are taken off, others come, and the first ones come back.
    BackAndForth,
}

/// What a seed has in store.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How long people do things and faults happen, in milliseconds.
    pub(crate) busy: u64,
    /// How many invoices are asked for.
    pub(crate) invoices: u32,
    /// Trials of the registration race instead of a town's life.
    pub(crate) trials: u32,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// How far the node's clock is off, in milliseconds.
    pub(crate) node_off: i64,
    // ZMQ, in a thousand messages.
    pub(crate) dropped: u64,
    pub(crate) repeated: u64,
    pub(crate) reordered: u64,
    pub(crate) delayed: u64,
    /// RPC calls that come to nothing, in a thousand, at any time.
    pub(crate) rpc_errors: u64,
    /// How many inputs wait at most for those who cannot wait.
    pub(crate) queue: usize,
    /// How many inputs go into one write at most.
    pub(crate) batch: usize,
    /// How many submissions are under way at most.
    pub(crate) submissions: usize,
    /// How many matching transactions are asked of the node at once.
    pub(crate) meetings: usize,
    /// In milliseconds.
    pub(crate) late_window: u64,
    pub(crate) grace: u64,
}

/// How far a wall clock is off, in milliseconds: seconds, hours, two weeks, more than a year.
const CLOCKS_OFF: [u64; 5] = [2_000, 30_000, 7_200_000, 14 * 86_400_000, 400 * 86_400_000];

/// By how many milliseconds a clock is off: up to one of these, either way.
fn off(dice: &mut Dice, most: &[u64]) -> i64 {
    let most = dice.pick(most).copied().unwrap_or_default();
    let off = i64::try_from(dice.between(most / 2, most)).unwrap_or_default();
    if dice.chance(500) { off } else { -off }
}

impl Plan {
    /// A town's life.
    pub(crate) fn town(dice: &mut Dice) -> Self {
        let busy = dice.between(35_000, 60_000);
        let mut plan = Self {
            busy,
            invoices: u32::try_from(dice.between(12, 16)).unwrap_or(12),
            trials: 0,
            faults: Vec::new(),
            node_off: 0,
            dropped: 0,
            repeated: 0,
            reordered: 0,
            delayed: 0,
            rpc_errors: 0,
            queue: 64,
            batch: 1_000,
            submissions: 16,
            meetings: 16,
            late_window: if dice.chance(300) { dice.between(5_000, 20_000) } else { 7 * 24 * 3_600_000 },
            grace: if dice.chance(500) { 2_000 } else { 30_000 },
        };
        for _ in 0..busy / 9_000 {
            plan.at(dice, |dice| Fault::Block { part: dice.chance(400) });
        }
        // One seed in eight is calm.
        if dice.chance(125) {
            return plan;
        }
        if dice.chance(500) {
            plan.dropped = dice.between(20, 400);
        }
        if dice.chance(400) {
            plan.repeated = dice.between(20, 200);
        }
        if dice.chance(400) {
            plan.reordered = dice.between(20, 300);
        }
        if dice.chance(400) {
            plan.delayed = dice.between(20, 300);
        }
        if dice.chance(400) {
            plan.rpc_errors = dice.between(2, 60);
        }
        if dice.chance(200) {
            plan.queue = 2;
            plan.submissions = 2;
            plan.meetings = 1;
        }
        if dice.chance(300) {
            plan.batch = 1;
        }
        plan.some(dice, 400, 2, |dice| Fault::Silence(dice.between(500, 12_000)));
        plan.some(dice, 350, 2, |dice| Fault::RpcStorm(dice.between(300, 4_000)));
        plan.some(dice, 350, 2, |dice| Fault::RpcSlow(dice.between(300, 6_000)));
        plan.some(dice, 350, 2, |dice| Fault::Restart {
            mempool: dice.chance(500),
            shorter: if dice.chance(300) { u32::try_from(dice.between(1, 3)).unwrap_or(1) } else { 0 },
            down: dice.between(200, 5_000),
        });
        plan.some(dice, 550, 3, |dice| Fault::Reorg {
            depth: u32::try_from(if dice.chance(800) { dice.between(1, 3) } else { dice.between(4, 10) })
                .unwrap_or(1),
            mode: match dice.below(3) {
                0 => Reorg::Rival,
                1 => Reorg::Disconnect,
                _ => Reorg::BackAndForth,
            },
        });
        plan.some(dice, 350, 3, |_| Fault::Evict);
        plan.some(dice, 350, 2, |dice| Fault::Kill { down: dice.between(50, 6_000) });
        plan.some(dice, 450, 3, |dice| Fault::KillAtWrite {
            after: dice.chance(500),
            down: dice.between(50, 4_000),
        });
        plan.some(dice, 350, 2, |dice| Fault::DiskFails {
            landed: dice.chance(500),
            lasts: dice.between(1, 3_000),
        });
        plan.some(dice, 300, 2, |dice| Fault::DiskSlow(dice.between(200, 3_000)));
        if dice.chance(600) {
            plan.node_off = off(dice, &[120_000]);
        }
        plan.some(dice, 300, 2, |dice| Fault::Clock(off(dice, &CLOCKS_OFF)));
        plan.some(dice, 250, 2, |dice| Fault::WrongStart {
            off: off(dice, &CLOCKS_OFF),
            down: dice.between(50, 6_000),
            lasts: dice.between(100, 12_000),
        });
        // With both clocks set during one stop nobody can tell how long it was.
        let is_set = |(_, fault): &(u64, Fault)| matches!(fault, Fault::Clock(_) | Fault::WrongStart { .. });
        if !plan.faults.iter().any(is_set) {
            plan.some(dice, 150, 1, |dice| Fault::NodeClock(off(dice, &[120_000])));
        }
        // Troubles do not come alone.
        if dice.chance(500)
            && let Some((first, _)) = dice.pick(&plan.faults).copied()
        {
            for _ in 0..dice.between(1, 2) {
                let last = dice.below(plan.faults.len() as u64);
                let soon = first + dice.below(900);
                if let Some((at, _)) = usize::try_from(last).ok().and_then(|last| plan.faults.get_mut(last)) {
                    *at = soon;
                }
            }
        }
        plan
    }

    /// Trials of the registration race: payments, and invoices for them, within half a second of each other.
    pub(crate) fn race(dice: &mut Dice, trials: u32) -> Self {
        let mut plan = Self {
            busy: 4_000 + u64::from(trials) * 40,
            invoices: 0,
            trials,
            faults: Vec::new(),
            node_off: 0,
            dropped: if dice.chance(300) { 100 } else { 0 },
            repeated: if dice.chance(300) { 50 } else { 0 },
            reordered: if dice.chance(300) { 50 } else { 0 },
            delayed: if dice.chance(500) { 100 } else { 0 },
            rpc_errors: 0,
            queue: 4_096,
            batch: 1_000,
            submissions: 64,
            meetings: 256,
            late_window: 7 * 24 * 3_600_000,
            grace: 30_000,
        };
        plan.some(dice, 500, 8, |dice| Fault::DiskSlow(dice.between(200, 1_000)));
        plan.some(dice, 500, 8, |dice| Fault::RpcSlow(dice.between(200, 1_000)));
        plan.some(dice, 300, 3, |_| Fault::Reorg { depth: 1, mode: Reorg::Rival });
        plan
    }

    fn some(&mut self, dice: &mut Dice, per_mille: u64, most: u64, fault: impl Fn(&mut Dice) -> Fault) {
        if dice.chance(per_mille) {
            for _ in 0..dice.between(1, most) {
                self.at(dice, &fault);
            }
        }
    }

    fn at(&mut self, dice: &mut Dice, fault: impl Fn(&mut Dice) -> Fault) {
        let fault = fault(dice);
        self.faults.push((dice.between(2_500, self.busy), fault));
    }
}
