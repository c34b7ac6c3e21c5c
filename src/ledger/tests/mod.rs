//! Tests of the state machine. [`World`] is a ledger in memory with a clock; after every input it checks all that
//! must hold at all times ([`invariants`]), so each test says only what is its own.

#![allow(clippy::wildcard_enum_match_arm, reason = "whatever a test does not expect fails it")]

mod chain;
mod claims;
mod creation;
mod dust;
mod held;
mod invariants;
mod merchant;
mod order;
mod owners;
mod property;
mod rows;
mod spent_twice;
mod time;
mod unions;
mod work;
mod world;

use world::{World, invoice_id, shop, token};

use super::*;
use crate::invoice::{CreditState, Level, Status, Via};

/// Short for the kinds of events, which is what most tests look at.
use EventKind::{
    Confirmation, DoubleSpendDetected, InvoiceCancelled, InvoiceCreated, InvoiceExpired, PartialPayment,
    PaymentConfirmed, PaymentHeld, PaymentLost, PaymentMoved, PaymentReceived, PaymentRecorded,
    PaymentReverted, PaymentUnassigned,
};
