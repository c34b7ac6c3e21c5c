//! The one writer: batches inputs, applies them, commits them in one synced write, then answers and publishes.
//!
//! Floor 4.
