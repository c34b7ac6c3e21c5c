//! The Bitcoin Cash node as a typed client: RPC and ZMQ.
//!
//! Floor 3. It knows no invoice.
