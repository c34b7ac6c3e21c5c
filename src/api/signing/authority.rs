//! Certificates for tests, made when they run: no key lies in the repository.

use std::{fs, path::PathBuf, process::Command};

/// A certificate authority of a test's own, made by the `openssl` of the machine.
pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    /// `None`, and a line that says so, where there is no `openssl`.
    pub(crate) fn new(test: &str) -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            regtest::node::skipped(&format!("{test}: no openssl on the path"));
            return None;
        }
        let authority = Self { folder: tempfile::tempdir().unwrap() };
        let new_root =
            "req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=root -keyout root.key -out root.pem";
        authority.openssl(new_root);
        Some(authority)
    }

    /// Where a file is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in a file.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Calls `openssl` in the folder, and gives what it prints.
    pub(crate) fn openssl(&self, line: &str) -> String {
        let mut command = Command::new("openssl");
        let ended = command.current_dir(&self.folder).args(line.split(' ')).output().unwrap();
        assert!(ended.status.success(), "{line}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// Issues a certificate for as long as the root has: `NAME.key`, `NAME.pem`, and `NAME.chain` with the root after it.
    pub(crate) fn issue(&self, name: &str, new_key: &str) {
        self.issue_for(name, new_key, 90);
    }

    /// The same for so many days; less than none, and it has expired.
    pub(crate) fn issue_for(&self, name: &str, new_key: &str, days: i32) {
        self.openssl(&format!("{new_key} -out {name}.key"));
        self.openssl(&format!("req -new -key {name}.key -subj /CN=pay.example -out {name}.csr"));
        fs::write(self.path("v3"), "subjectAltName=DNS:pay.example\n").unwrap();
        let sign = format!("x509 -req -in {name}.csr -CA root.pem -CAkey root.key -CAcreateserial");
        self.openssl(&format!("{sign} -days {days} -sha256 -extfile v3 -out {name}.pem"));
        let chain = [self.read(&format!("{name}.pem")), self.read("root.pem")].concat();
        fs::write(self.path(&format!("{name}.chain")), chain).unwrap();
    }
}

/// Makes an RSA key.
pub(crate) const RSA: &str = "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048";

/// Makes a key on a curve, as certbot does by itself.
pub(crate) const ECDSA: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256";
