//! The state machine of payment: `apply(view, input) -> changes`.
//!
//! Floor 2. Deterministic: the same inputs in the same order give the same changes, to the byte.
