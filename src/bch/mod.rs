//! The vocabulary of Bitcoin Cash: networks, addresses, locking scripts, CashTokens, transactions, blocks, fees.
//!
//! Floor 0. Thin over the `bitcoincash` crate, and the only room that meets its traps: what leaves this room is
//! already checked, so no other room looks at a token prefix, a checksum or a segwit marker. It knows no invoice.
