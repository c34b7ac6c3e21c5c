//! The merchants' keys: a file of names and digests, and the question whose key this is.
//!
//! One key per line, `NAME SHA256 CREATED`: the merchant's name, the SHA-256 of the key in hex, the day it was
//! made. Empty lines and lines that begin with `#` are skipped. A name may have several keys, so that a shop can
//! take up a new one before it drops the old. The key itself is written nowhere: it was shown once, to whoever
//! made it.

use std::{collections::HashMap, fmt, fs, io, path::Path, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// The longest name.
const MAX_NAME_BYTES: usize = 64;

/// The name of a merchant: the owner of the invoices made with one of its keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MerchantName(String);

/// The text is no merchant's name. Whoever chose it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a merchant's name: 1 to {MAX_NAME_BYTES} of the characters a-z 0-9 . _ -")]
pub struct MerchantNameError;

impl MerchantName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MerchantName {
    type Err = MerchantNameError;

    fn from_str(text: &str) -> Result<Self, MerchantNameError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MerchantNameError)
        }
    }
}

impl fmt::Display for MerchantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of the file. `Display` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Whose key it is.
    pub merchant: MerchantName,
    /// Its SHA-256, see [`digest_of`].
    pub digest: [u8; 32],
    /// When it was made.
    pub created: DateTime<Utc>,
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let created = self.created.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(f, "{} {} {created}", self.merchant, hex::encode(self.digest))
    }
}

/// What the file keeps of a key: the SHA-256 of its text, as it is presented after `Bearer`.
pub fn digest_of(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// All keys of the file.
#[derive(Clone, Default)]
pub struct ApiKeys(Vec<ApiKey>);

/// The file with the keys cannot be used. The operator is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeysError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A line is not as it should be.
    #[error(
        "line {line}: {what}; allowed: NAME SHA256 CREATED, such as `shop <64 hex digits> 2026-01-31T12:00:00Z`"
    )]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

impl ApiKeys {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, ApiKeysError> {
        Self::parse(&fs::read_to_string(path)?)
    }

    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Self, ApiKeysError> {
        let mut keys = Vec::new();
        let mut lines_by_digest = HashMap::new();
        for (line, content) in (1..).zip(text.lines()) {
            let refuse = |what: String| Err(ApiKeysError::Line { line, what });
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let key = match parse_line(content) {
                Ok(key) => key,
                Err(what) => return refuse(what),
            };
            if let Some(first) = lines_by_digest.insert(key.digest, line) {
                return refuse(format!("the same key as in line {first}"));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// Whose key this is, if anybody's. The time this takes tells nothing of how near a guess came, nor of the
    /// line that matched: digests are compared, each in constant time, and always all of them.
    pub fn merchant_of(&self, presented: &str) -> Option<&str> {
        let presented = digest_of(presented);
        let mut found = u64::MAX;
        for (index, key) in (0u64..).zip(&self.0) {
            found.conditional_assign(&index, key.digest.ct_eq(&presented));
        }
        self.0.get(usize::try_from(found).ok()?).map(|key| key.merchant.as_str())
    }

    /// The keys, in the order of the file.
    pub fn entries(&self) -> &[ApiKey] {
        &self.0
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKeys({} keys)", self.0.len())
    }
}

fn parse_line(content: &str) -> Result<ApiKey, String> {
    let fields: Vec<_> = content.split_whitespace().collect();
    let [name, digest, created] = fields.as_slice() else {
        return Err(format!("{} fields instead of 3", fields.len()));
    };
    let merchant = name.parse().map_err(|error: MerchantNameError| error.to_string())?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(digest, &mut bytes)
        .map_err(|_| "the second field is not 64 hex digits".to_owned())?;
    let created = DateTime::parse_from_rfc3339(created)
        .map_err(|_| "the third field is not a time as in RFC 3339".to_owned())?
        .to_utc();
    Ok(ApiKey { merchant, digest: bytes, created })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(name: &str, key: &str) -> String {
        format!("{name} {} 2026-01-31T12:00:00Z", hex::encode(digest_of(key)))
    }

    #[test]
    fn finds_the_owner_of_each_key() {
        let text = format!(
            "# keys\n\n{}\n  {}\r\n{}\n",
            line("shop", "old"),
            line("shop", "new"),
            line("kiosk-2.north_east", "third")
        );
        let keys = ApiKeys::parse(&text).unwrap();
        let table = [
            ("old", Some("shop")),
            ("new", Some("shop")),
            ("third", Some("kiosk-2.north_east")),
            ("", None),
            ("New", None),
            ("new ", None),
            ("shop", None),
        ];
        for (presented, merchant) in table {
            assert_eq!(keys.merchant_of(presented), merchant, "{presented:?}");
        }
        // The digest itself opens nothing.
        assert_eq!(keys.merchant_of(&hex::encode(digest_of("old"))), None);
        assert_eq!(ApiKeys::default().merchant_of("old"), None);
        assert_eq!(format!("{keys:?}"), "ApiKeys(3 keys)");
    }

    #[test]
    fn a_bad_line_names_itself() {
        let digest = "00".repeat(32);
        let good = line("shop", "key");
        let table = [
            ("shop".to_owned(), "line 2: 1 fields instead of 3"),
            (format!("shop {digest}"), "line 2: 2 fields instead of 3"),
            (format!("shop {digest} 2026-01-31T12:00:00Z x"), "line 2: 4 fields instead of 3"),
            (format!("Shop {digest} 2026-01-31T12:00:00Z"), "line 2: not a merchant's name"),
            (format!("{} {digest} 2026-01-31T12:00:00Z", "a".repeat(65)), "line 2: not a merchant's name"),
            ("shop 00 2026-01-31T12:00:00Z".to_owned(), "line 2: the second field is not 64 hex digits"),
            (format!("shop {digest}0 2026-01-31T12:00:00Z"), "line 2: the second field is not 64 hex digits"),
            (format!("shop {digest} yesterday"), "line 2: the third field is not a time"),
            (line("other", "key"), "line 2: the same key as in line 1"),
        ];
        for (bad, message) in table {
            let error = ApiKeys::parse(&format!("{good}\n{bad}\n")).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
            assert!(error.contains("allowed: NAME SHA256 CREATED"), "{error}");
        }
    }

    #[test]
    fn names() {
        for name in ["a", "shop", "0.9_-", &"x".repeat(64)] {
            assert_eq!(name.parse::<MerchantName>().unwrap().as_str(), name);
        }
        for name in ["", "A", "shop one", "shop\n", "käse", "../x/", "#shop", &"x".repeat(65)] {
            assert_eq!(name.parse::<MerchantName>(), Err(MerchantNameError), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            name in "[a-z0-9._-]{1,64}", digest: [u8; 32], seconds in 0i64..4_000_000_000,
        ) {
            let created = DateTime::from_timestamp(seconds, 0).unwrap();
            let key = ApiKey { merchant: name.parse().unwrap(), digest, created };
            let keys = ApiKeys::parse(&format!("{key}\n")).unwrap();
            prop_assert_eq!(keys.entries(), &[key]);
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = ApiKeys::parse(&text);
        }
    }
}
