//! The installation by the page, and what is asked of jppd afterwards.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    machine::Machine,
    node::{Login, let_in},
    page::{Page, keys, repository, set},
    until,
};

/// Where the three files of an installation are brought.
const BROUGHT: &str = "/root/jppd";
const CONFIGURATION: &str = "/etc/jppd/jppd.toml";

/// jppd in a machine.
pub(crate) struct Installed<'m> {
    pub(crate) machine: &'m Machine,
    /// The key of the merchant.
    key: String,
}

/// An answer of jppd.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Brings the three files, as the page begins with them.
pub(crate) fn bring(machine: &Machine, jppd: &Path) -> Result<()> {
    machine.copy(jppd, &format!("{BROUGHT}/jppd"))?;
    machine.copy(&repository().join("config/jppd.toml"), &format!("{BROUGHT}/jppd.toml"))?;
    machine.copy(&repository().join("systemd/jppd.service"), &format!("{BROUGHT}/jppd.service"))
}

/// Runs a block of the page in the folder with the three files.
pub(crate) fn type_in(machine: &Machine, block: &str) -> Result<String> {
    machine.sh(&format!("cd {BROUGHT}\n{block}"))
}

impl<'m> Installed<'m> {
    /// Goes through "Installing". At its end jppd runs.
    pub(crate) fn by_the_page(machine: &'m Machine, page: &Page, jppd: &Path, login: Login) -> Result<Self> {
        bring(machine, jppd)?;
        let [files, merchant, start] = page.blocks("Installing", "sh")?;
        type_in(machine, files)?;
        let way = let_in(machine, page, login)?;
        let [least] = page.blocks("Installing", "toml")?;
        let mut text = machine.sh(&format!("cat {CONFIGURATION}"))?;
        for (section, key, value) in keys(least) {
            // The node here is on a private chain, and one way to log in is enough.
            let value = if key == "network" { "\"regtest\"" } else { value };
            if login == Login::Password || !key.starts_with("rpc_") {
                text = set(&text, section, key, value)?;
            }
        }
        for (section, key, value) in way {
            text = set(&text, section, key, &value)?;
        }
        machine.sh_with(&format!("cat >{CONFIGURATION}"), Some(&text))?;
        let key = type_in(machine, merchant)?.trim().to_owned();
        ensure!(!key.is_empty() && !key.contains(char::is_whitespace), "no key: {key:?}");
        type_in(machine, start)?;
        Ok(Self { machine, key })
    }

    /// jppd in a machine that was booted again.
    pub(crate) fn again(machine: &'m Machine, key: String) -> Self {
        Self { machine, key }
    }

    /// The key of the merchant.
    pub(crate) fn into_key(self) -> String {
        self.key
    }

    /// Sets a key of its configuration file.
    pub(crate) fn configure(&self, section: &str, key: &str, value: &str) -> Result<()> {
        let text = set(&self.machine.sh(&format!("cat {CONFIGURATION}"))?, section, key, value)?;
        self.machine.sh_with(&format!("cat >{CONFIGURATION}"), Some(&text)).map(drop)
    }

    /// `GET`, on this machine.
    pub(crate) fn get(&self, url: &str) -> Result<Answer> {
        self.curl(&format!("{url:?}"))
    }

    /// The status of `/readyz`, 0 when nobody answers.
    pub(crate) fn readiness(&self) -> Result<Answer> {
        self.get("http://127.0.0.1:8091/readyz")
    }

    pub(crate) fn until_ready(&self) -> Result<()> {
        let mut last = None;
        until("jppd is ready", || {
            let answer = last.insert(self.readiness()?);
            Ok(answer.status == 200)
        })
        .with_context(|| format!("{last:?}"))
    }

    /// Creates an invoice with the merchant's key. As long as the answer is 503, which asks to try again, it tries again.
    pub(crate) fn create(&self, address: &str, satoshis: u64) -> Result<Value> {
        let body = json!({"memo": "Order 42", "outputs": [{"address": address, "amount": satoshis}]});
        let words = format!(
            "-X POST http://127.0.0.1:8090/jpp/invoices/ -H 'Content-Type: application/json' \
             -H 'Authorization: Bearer {}' -d '{body}'",
            self.key
        );
        let mut answer = self.curl(&words)?;
        until("an invoice is created", || {
            if answer.status == 503 {
                answer = self.curl(&words)?;
            }
            Ok(answer.status != 503)
        })?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// An invoice as it stands.
    pub(crate) fn invoice(&self, created: &Value) -> Result<Value> {
        let id = created["payment_id"].as_str().context("an id")?;
        let answer = self.get(&format!("http://127.0.0.1:8090/jpp/invoices/{id}/"))?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// Properties of its unit, one a line as `Name=value`.
    pub(crate) fn properties(&self, names: &str) -> Result<String> {
        self.machine.sh(&format!("systemctl show jppd -p {names}"))
    }

    pub(crate) fn property(&self, name: &str) -> Result<String> {
        Ok(self.machine.sh(&format!("systemctl show jppd --value -p {name}"))?.trim().to_owned())
    }

    /// The lines of its journal, with further options of journalctl.
    pub(crate) fn journal(&self, options: &str) -> Result<String> {
        self.machine.sh(&format!("journalctl -q -u jppd --no-pager {options}"))
    }

    fn curl(&self, words: &str) -> Result<Answer> {
        let said = self.machine.run(&format!("curl -sS -m 20 -w '\\n%{{http_code}}' {words}"), None)?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let (body, status) = said.rsplit_once('\n').unwrap_or(("", "0"));
        Ok(Answer { status: status.parse()?, body: body.to_owned() })
    }
}
