//! HTTP and WebSocket: one file per dialect, one error type per dialect.
//!
//! Floor 6. It contains no rule of payment, and it alone knows JSON names: what it is asked becomes an input of the
//! engine or a submission, what it answers is written from a [`Statement`](crate::invoice::Statement), and in between
//! it decides nothing about money.
//!
//! # What pulls in different directions
//!
//! * **Open doors against bad company.** Wallets come without a key, from web pages of any origin, over bad lines.
//!   So does everybody else. Every public answer has its CORS headers, errors included, and everything that a
//!   stranger can make grow has a bound: connections, heads, bodies, time, sockets, requests per address.
//! * **Old clients against plain words.** Whoever was written for Watchtower's `jpp` must find its fields, in its
//!   order, and its errors in their shape; everybody else wants to know what was wrong. So the shapes are the old
//!   ones, and the texts within them are clear.
//! * **Privacy against convenience.** What a merchant keeps with an invoice is shown to the merchant, and to the
//!   public only if the configuration says so.
//!
//! # How it is built
//!
//! [`serve()`] accepts connections and holds their deadlines (`stream`); around every request stands `frame`, with its
//! id, its time limit, the common headers, the log and the meters. [`public_router`] is what the world sees:
//! `watchtower` the REST dialect, `wallet` the one URL of an invoice, which finds out whether a wallet speaks `bitpay`
//! (JPP v1 and v2) or `bip70` or is a person's browser, who gets a `page`; `socket` an invoice's events, which `replay` encodes once for all sockets; [`ops_router`]
//! is what its operator sees. `receive` takes a body, `number` and `canonical` read the numbers of JSON and compare bodies, `media` reads what is accepted and what is sent, `language` which
//! language a person reads, `auth` says who asks, `limits` counts. `document` writes an invoice, `uri` and `qr` what a
//! camera reads, `submissions` hands over what a dialect has read, and `reasons` has the words for every way in which
//! that can fail: a dialect says only how it wraps them.
//!
//! [`signing`] says who we are, to whoever wants it proved.
//!
//! A client is known by the address of its connection (`caller`), and behind a proxy that the operator trusts by the
//! address that the proxy forwards (`proxies`). From anybody else `X-Forwarded-For` and its relatives are not read: they
//! are anybody's claim. An API key is a client of its own, with higher limits. `connections` decides which connections
//! are kept when there are too many.

mod auth;
mod bip70;
mod bitpay;
mod cache;
mod caller;
mod canonical;
mod connections;
mod document;
mod frame;
mod language;
mod limits;
mod media;
mod number;
mod ops;
mod page;
pub mod parsers;
mod proxies;
mod qr;
mod reasons;
mod receive;
mod replay;
mod serve;
mod settings;
pub mod signing;
mod socket;
mod state;
mod stop;
mod stream;
mod submissions;
#[cfg(test)]
mod tests;
mod uri;
mod wallet;
mod watchtower;

pub use ops::{OpsState, ops_router};
pub use proxies::TrustedProxies;
pub use serve::{ServeSettings, listen, serve};
pub use settings::{ApiSettings, Limits};
pub use state::{ApiState, Keys, public_router};
pub use stop::Stop;
