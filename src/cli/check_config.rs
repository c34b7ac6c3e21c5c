//! `jppd check-config`: what would hold, without starting anything.

use std::fmt::Write as _;

use crate::config::Loaded;

/// What the command prints to standard output, and what to standard error. Nothing in either is secret: a
/// configuration holds the names of secret files, and no more.
pub fn report(loaded: &Loaded) -> (String, String) {
    let mut warnings = String::new();
    for warning in &loaded.warnings {
        // Writing to a string cannot fail.
        let _ = writeln!(warnings, "warning: {warning}");
    }
    (loaded.show(), warnings)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, fs};

    use super::*;

    #[test]
    fn shows_what_holds_and_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        fs::write(&password, "hunter2\n").unwrap();
        let variables =
            [("JPPD_NODE__RPC_USER", "jppd"), ("JPPD_NODE__RPC_PASSWORD_FILE", password.to_str().unwrap())]
                .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let loaded = Loaded::read(None, variables).unwrap();
        let (shown, warnings) = report(&loaded);
        assert!(shown.contains("rpc_user = \"jppd\"  # JPPD_NODE__RPC_USER\n"), "{shown}");
        assert!(warnings.contains("warning: http.api_keys_file: not set"), "{warnings}");
        assert!(!format!("{shown}{warnings}{loaded:?}").contains("hunter2"));
    }
}
