//! The same checks against the stand-in and a real node.
//!
//! Most checks write down what a node answers, with what must differ taken out (hashes, times), and the two records are
//! compared line by line. Where there is no `bitcoind` the stand-in is run alone; then what a check asserts by itself is
//! all that is checked, and a line says so.

#![expect(clippy::unwrap_used, reason = "a check fails by panicking")]

mod life;
mod rules;
mod support;
mod transport;
mod wire;
