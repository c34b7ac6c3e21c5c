//! `jppd store repair`: goes on with a damaged store from what can be read.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    config::Config,
    store::{Examination, Loss, Store, StoreOptions},
};

/// Finds the data that a repair would lose; `None` if the daemon can open the store as it is.
///
/// # Errors
///
/// When there is no store, it is in use, or what is wrong with it is not mended by a repair.
pub fn examine(config: &Config) -> Result<Option<Loss>> {
    let path = &config.store.path;
    let examination = Store::examine(path, &StoreOptions::new(config.node.network))
        .with_context(|| format!("the store in {} cannot be repaired", path.display()))?;
    Ok(match examination {
        Examination::Sound => None,
        Examination::Loss(loss) => Some(loss),
    })
}

/// Repairs the store; gives the folder with the copies of its logs.
///
/// # Errors
///
/// When the store or the disk refuses.
pub fn repair(config: &Config, loss: &Loss) -> Result<PathBuf> {
    let path = &config.store.path;
    Store::repair(path, &StoreOptions::new(config.node.network), loss)
        .with_context(|| format!("the store in {} could not be repaired", path.display()))
}

/// Text about a loss that is printed before the repair.
pub fn shown(loss: &Loss) -> String {
    let Loss { why, readable, committed, until, event, .. } = loss;
    let lost = match committed {
        Some(committed) if committed > readable => format!(
            "{readable} of {committed} inputs can be read: the last {} are lost (invoices, payments, events)",
            committed - readable
        ),
        Some(_) => format!("{readable} inputs can be read; later ones that were answered may be lost"),
        None => format!("{readable} inputs can be read; how many were answered is not known"),
    };
    let until = until.map_or_else(|| "an unknown time".to_owned(), |time| time.to_string());
    format!(
        "damage: {why}\n{lost}\nthe last input that can be read is of {until}; invoices of a later time are lost\n\
         the last event that can be read is number {event}; later numbers are given again to other events, so the event log \
         gets a new id, and a program that resumes by a number must begin anew\n"
    )
}
