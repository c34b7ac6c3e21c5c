//! Whether the wall clock can be believed: what the node, its peers and the chain say of it.

use std::{collections::BTreeSet, time::Duration};

use super::Reason;
use crate::{
    invoice::{NodeTime, Reading, Timestamp},
    node::{ChainInfo, NetworkInfo},
};

/// How far the node's peers may be off.
const PEERS_OFF: Duration = Duration::from_secs(600);

/// How far the node and this program may be apart.
const NODE_OFF: Duration = Duration::from_secs(60);

/// How long no block can have come without somebody else confirming the time.
const LONGEST_WITHOUT_BLOCK: Duration = Duration::from_secs(4 * 3600);

/// How far ahead of the time a block of a test network may be: there everybody finds as many as they like.
const TEST_SLACK: Duration = Duration::from_secs(2 * 3600);

/// From so many peers on, the node tells how far they are off.
const PEERS_THAT_TELL: u32 = 5;

/// Evidence of the current time from the node's answers to a survey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeEvidence {
    /// Whether the network finds blocks by itself.
    pub mines_by_itself: bool,
    /// The median time past of the node's tip.
    pub median: Timestamp,
    /// The time of the node's tip.
    pub tip: Timestamp,
    /// How far the peers are ahead of the node, in seconds; `None` while too few of them told.
    pub peers_ahead_s: Option<i64>,
    /// How many peers the node has.
    pub peers: u32,
    /// Whether the node itself warns of a wrong clock.
    pub warned: bool,
}

impl TimeEvidence {
    /// Takes the evidence from the node's answers and from the time of its tip, in seconds since 1970.
    pub fn new(mines_by_itself: bool, chain: &ChainInfo, tip_s: u64, network: &NetworkInfo) -> Self {
        let tells = network.connections >= PEERS_THAT_TELL || network.time_offset_s != 0;
        let warns = |text: &str| text.contains("date and time");
        Self {
            mines_by_itself,
            median: Timestamp::from_secs(chain.median_time_s),
            tip: Timestamp::from_secs(tip_s),
            peers_ahead_s: tells.then_some(network.time_offset_s),
            peers: network.connections,
            warned: warns(&network.warnings) || warns(&chain.warnings),
        }
    }

    /// The reasons that the clocks give at a moment. `behind` says that the wall clock shows less than was shown before
    /// this process began.
    pub fn reasons(&self, now: &Reading, behind: bool) -> BTreeSet<Reason> {
        let mut reasons = BTreeSet::new();
        if self.is_wrong(now) {
            reasons.insert(Reason::ClockWrong);
        } else if behind || apart(now.node, now.wall).is_some_and(|apart| apart > NODE_OFF) {
            reasons.insert(Reason::ClockDoubtful);
        }
        reasons
    }

    fn is_wrong(&self, now: &Reading) -> bool {
        let slack = if self.mines_by_itself { Duration::ZERO } else { TEST_SLACK };
        if now.wall.after(slack) < self.median || self.warned {
            return true;
        }
        let peers_off =
            self.peers_ahead_s.is_some_and(|ahead| Duration::from_secs(ahead.unsigned_abs()) > PEERS_OFF)
                || self.peers_time(now).is_some_and(|peers| peers.apart(now.wall) > PEERS_OFF);
        let confirmed = self.peers > 0 && apart(now.node, now.wall).is_none_or(|apart| apart <= NODE_OFF);
        let late = self.mines_by_itself && now.wall > self.tip.after(LONGEST_WITHOUT_BLOCK);
        peers_off || (late && !confirmed)
    }

    /// The time by the node's peers, where they tell it.
    fn peers_time(&self, now: &Reading) -> Option<Timestamp> {
        let (node, ahead) = (now.node?, self.peers_ahead_s?);
        let millis = node.millis().saturating_add_signed(ahead.saturating_mul(1000));
        Some(Timestamp::from_millis(millis))
    }
}

/// How far the node's clock and ours are apart.
fn apart(node: Option<NodeTime>, wall: Timestamp) -> Option<Duration> {
    node.map(|node| Timestamp::from_millis(node.millis()).apart(wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn wall(off: i64) -> Timestamp {
        Timestamp::from_secs(1_800_000_000u64.saturating_add_signed(off))
    }

    /// A node on the main network whose last block came ten minutes ago, with eight peers that agree.
    fn evidence() -> TimeEvidence {
        TimeEvidence {
            mines_by_itself: true,
            median: wall(-2 * HOUR),
            tip: wall(-600),
            peers_ahead_s: Some(0),
            peers: 8,
            warned: false,
        }
    }

    /// The reason for a wall clock and a node's clock that are off by so many seconds.
    fn reason(evidence: &TimeEvidence, ours: i64, node: Option<i64>) -> Option<Reason> {
        let node = node.map(|off| NodeTime::from_millis(wall(off).millis()));
        let now = Reading { wall: wall(ours), node, ..Reading::default() };
        evidence.reasons(&now, false).pop_first()
    }

    #[test]
    fn a_wrong_clock_is_told_from_a_doubtful_one() {
        use Reason::{ClockDoubtful, ClockWrong};
        let (day, year) = (24 * HOUR, 400 * 24 * HOUR);
        let main = evidence();
        let alone = TimeEvidence { peers: 0, peers_ahead_s: None, ..main.clone() };
        let few = TimeEvidence { peers: 2, peers_ahead_s: None, ..main.clone() };
        let quiet = TimeEvidence { tip: wall(-5 * HOUR), ..main.clone() };
        let warned = TimeEvidence { warned: true, ..main.clone() };
        let off = |seconds| TimeEvidence { peers_ahead_s: Some(seconds), ..main.clone() };
        let regtest = TimeEvidence { mines_by_itself: false, tip: wall(-year), ..alone.clone() };
        let table = [
            // evidence, our clock is off by, the node's clock is off by, what is told
            (&main, 0, Some(0), None),
            (&main, 59, Some(0), None),
            (&main, 2, None, None),
            (&main, 61, Some(0), Some(ClockDoubtful)),
            (&main, -61, Some(0), Some(ClockDoubtful)),
            (&main, 0, Some(120), Some(ClockDoubtful)),
            // Both on one machine: the peers know better.
            (&off(-3 * HOUR), 3 * HOUR, Some(3 * HOUR), Some(ClockWrong)),
            (&off(599), 0, Some(0), None),
            (&off(601), 0, Some(0), Some(ClockWrong)),
            (&off(-601), 0, Some(0), Some(ClockWrong)),
            // Ours alone: the peers and the node agree.
            (&main, 3 * HOUR, Some(0), Some(ClockWrong)),
            (&main, -3 * HOUR, Some(0), Some(ClockWrong)),
            (&main, -year, None, Some(ClockWrong)),
            (&main, -2 * HOUR - 1, Some(-2 * HOUR - 1), Some(ClockWrong)),
            // Peers that do not tell, and none at all.
            (&few, 3 * HOUR, Some(3 * HOUR), None),
            (&few, 5 * HOUR, Some(0), Some(ClockWrong)),
            (&alone, 3 * HOUR, Some(3 * HOUR), None),
            (&alone, 5 * HOUR, Some(5 * HOUR), Some(ClockWrong)),
            (&alone, year, Some(year), Some(ClockWrong)),
            // No block for long, and the peers confirm the time.
            (&quiet, 0, Some(0), None),
            (&warned, 0, Some(0), Some(ClockWrong)),
            // Blocks of a test network come when somebody asks for them.
            (&regtest, 0, Some(0), None),
            (&regtest, 3 * HOUR, Some(3 * HOUR), None),
            (&regtest, day, Some(0), Some(ClockDoubtful)),
            (&regtest, -3 * HOUR, Some(0), Some(ClockDoubtful)),
            (&regtest, -5 * HOUR, Some(0), Some(ClockWrong)),
        ];
        for (number, (evidence, ours, node, expected)) in table.into_iter().enumerate() {
            assert_eq!(reason(evidence, ours, node), expected, "row {number}");
        }
    }

    #[test]
    fn a_clock_behind_what_was_shown_is_doubtful() {
        let now = Reading { wall: wall(0), ..Reading::default() };
        assert_eq!(evidence().reasons(&now, true), BTreeSet::from([Reason::ClockDoubtful]));
    }
}
