//! The simulator: the program's machines under a simulated node, network, disk and clock, from one number.
//!
//! A daemon beside a node meets its faults by accident, and never the same ones twice. Here they are drawn from a seed,
//! and the same seed is the same run to the byte: [`world`] has the clock and the queue of what happens next; [`network`]
//! the node and the wires that lie; [`disk`] the store that fails, tears and forgets; [`daemon`] the loops around the
//! program's own writer, pass, meeting and course, which can be killed at any write; [`people`] a merchant and wallets
//! that pay in every way. [`oracle`] watches all of it with books of its own, and [`verdict`] judges what it came to. That
//! they would notice is what [`defects`] are for.
//!
//! `make sim SEEDS=10000` runs many, `make sim SEED=42 TRACE=1` tells what happened in one. `docs/RELIABILITY.md` has
//! what is injected, what is checked, and the numbers.

#[path = "../simulation/node.rs"]
mod answers;
mod daemon;
mod defects;
mod dice;
mod disk;
mod engine;
mod faults;
mod follower;
mod matching;
mod network;
mod oracle;
mod payments;
mod people;
mod plan;
mod purse;
mod runs;
mod submissions;
mod verdict;
mod world;
