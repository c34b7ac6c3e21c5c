//! The machines of `follow` and `submit` against the model of a node's chain, one step at a time.
//!
//! A daemon beside a node cannot be stopped between the question and the answer; here everything is a plain call, so
//! a test can let the chain move at exactly the wrong moment. A [`town::Town`] is a node's chain and mempool (the model
//! that the stand-in node serves), a ledger in memory, and a clock that moves when it is told to. Nothing opens a
//! socket, starts a thread or asks the time: the same test is the same run, always.

mod auditing;
mod following;
mod holding;
mod node;
mod submitting;
mod town;
mod unions;
mod verifying;
