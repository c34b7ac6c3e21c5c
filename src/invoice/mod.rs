//! The domain: a draft becomes an invoice, outputs become credits, credits become a standing.
//!
//! Floor 1. Pure functions and plain data; no I/O, no clock.
