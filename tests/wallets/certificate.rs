//! A certificate of an authority that nobody knows, made by `openssl` when a test runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

/// A certificate, its key, and the authority's certificate behind it.
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// A new one, for an RSA key, as wallets want it. `None`, and a line that says so, where there is no `openssl`.
    pub(crate) fn issue(test: &str) -> Result<Option<Self>> {
        if Command::new("openssl").arg("version").output().is_err() {
            regtest::node::skipped(&format!("{test}: no openssl"));
            return Ok(None);
        }
        let new = Self { folder: tempfile::tempdir()? };
        new.openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout root.key -out root.pem",
        )?;
        new.openssl("req -newkey rsa:2048 -nodes -subj /CN=pay.example -keyout shop.key -out shop.csr")?;
        let sign = "x509 -req -in shop.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -sha256";
        fs::write(new.path("extensions"), "subjectAltName=DNS:pay.example\n")?;
        new.openssl(&format!("{sign} -extfile extensions -out shop.pem"))?;
        let chain = [fs::read(new.path("shop.pem"))?, fs::read(new.path("root.pem"))?].concat();
        fs::write(new.path("chain"), chain)?;
        Ok(Some(new))
    }

    /// The daemon's settings to sign with it.
    pub(crate) fn settings(&self) -> Result<[(&'static str, String); 2]> {
        let text = |name: &str| Ok::<_, anyhow::Error>(self.path(name).to_str().context("UTF-8")?.to_owned());
        Ok([("JPPD_BIP70__CERTIFICATE_FILE", text("chain")?), ("JPPD_BIP70__KEY_FILE", text("shop.key")?)])
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    /// Calls `openssl` in its folder. An error is what it complains of.
    pub(crate) fn openssl(&self, line: &str) -> Result<Vec<u8>> {
        let done = Command::new("openssl").current_dir(&self.folder).args(line.split(' ')).output()?;
        ensure!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(done.stdout)
    }
}
