//! Makes the node's signals complete.
//!
//! Floor 5. It never writes the store; it only sends inputs to the engine.
