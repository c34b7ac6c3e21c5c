//! Configuration: the file, the environment, the defaults, all checked before any port is bound.
//!
//! Floor 7. Every key stands once, in the table of [`KEYS`]: its name, what it is for, what it allows, how it
//! is read and how it is shown. The file, the variables, the output of `jppd check-config` and the table in
//! `docs/OPERATIONS.md` all come from there, so a key cannot be known to one of them and unknown to another.
//!
//! # The way of a value
//!
//! `source.rs` finds values, in the file or among the variables, and remembers where each stood. `load.rs` lays
//! them over the defaults (defaults < file < environment) through the table. `check.rs` then looks at the whole:
//! what no single key can know, such as two ports that are one. All problems are collected before anybody
//! hears of them, for nobody wants to learn of the second after mending the first. The file is therefore read
//! as TOML values with their positions and not through serde's derive, which stops at the first.
//!
//! # Secrets
//!
//! There are none in [`Config`], only the names of the files that hold them: whatever prints a configuration
//! cannot print a password. What [`Loaded`] read from such files shows itself without its secrets. A secret written into the file or a variable is refused with a hint, and no message
//! repeats the value of a key it does not know.
//!
//! # For the rooms below
//!
//! They never see this room. [`Config`] holds plain values, which the assembly hands down one by one.

mod api_keys;
mod check;
mod duration;
mod error;
mod files;
mod keys;
mod load;
mod sections;
mod signing;
mod size;
mod source;
mod value;

pub use api_keys::{ApiKey, ApiKeys, ApiKeysError, MerchantName, MerchantNameError, digest_of};
pub use error::{ConfigError, Place, Problem, Warning};
pub use files::{Secret, SecretError, read_password};
pub use keys::{KEYS, Key, markdown_table};
pub use load::Loaded;
pub use sections::{
    Bip70Config, Config, Credentials, HttpConfig, InvoiceConfig, JppConfig, LimitsConfig, NodeConfig,
    OpsConfig, SharedOutputs, StoreConfig,
};
