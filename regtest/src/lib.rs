//! A Bitcoin Cash node on tap: the stand-in `SimNode` and a real `bitcoind -regtest` behind one trait.

pub mod chain;
pub mod wallet;
