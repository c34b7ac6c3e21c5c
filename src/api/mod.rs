//! HTTP and WebSocket: one file per dialect, one error type per dialect.
//!
//! Floor 6. It contains no rule of payment, and it alone knows JSON names.
