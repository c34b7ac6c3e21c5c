//! The file with the keys that sign JPP answers, and what is published with them.
//!
//! One statement per line: `owner NAME` and `expires TIME` once, `domain NAME` and `key HEX` once or more often.
//! Empty lines and lines that begin with `#` are skipped. The first key signs, all are published.

use std::fmt;

use bitcoincash::secp256k1::{PublicKey, Secp256k1, SecretKey, SignOnly};
use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};

/// The most keys a file may have. Two are needed to change one for the other.
const MAX_KEYS: usize = 16;

/// The most domains a file may have.
const MAX_DOMAINS: usize = 64;

/// The longest owner, in characters: wallets show it on one line.
const MAX_OWNER: usize = 100;

const STATEMENTS: &str = "owner NAME, expires TIME, domain NAME, key HEX";

/// The keys, and what the published document says besides them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Who signs, as wallets show it.
    pub owner: String,
    /// The hosts that the keys speak for, without ports.
    pub domains: Vec<String>,
    /// Until when wallets should believe them.
    pub expires: DateTime<Utc>,
    /// The keys: at least one, and the first signs.
    pub(super) keys: Vec<SecretKey>,
}

/// The file is not one of keys. The operator is at fault. No message has anything of the file in it, which could be
/// a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// A line is not as it should be.
    #[error("line {line}: {what}")]
    Line {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// A statement is missing.
    #[error("there is no line `{0}`; `jppd keys new` makes a whole file")]
    Missing(&'static str),
}

impl KeyFile {
    /// A file with one new key, from 32 random bytes. `None` for the few bytes that are no key: below 1, or not below
    /// the order of the curve.
    pub fn new(
        owner: String,
        domains: Vec<String>,
        expires: DateTime<Utc>,
        random: &[u8; 32],
    ) -> Option<Self> {
        Some(Self { owner, domains, expires, keys: vec![SecretKey::from_slice(random).ok()?] })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`].
    pub fn parse(text: &str) -> Result<Self, KeyFileError> {
        let (mut owner, mut expires) = (None, None);
        let (mut domains, mut keys) = (Vec::new(), Vec::new());
        for (line, content) in (1..).zip(text.lines()) {
            let content = content.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let (word, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
            let rest = rest.trim();
            let read = match word {
                "owner" => read_owner(rest).and_then(|value| once(&mut owner, value)),
                "expires" => read_expiry(rest).and_then(|value| once(&mut expires, value)),
                "domain" => read_domain(rest).and_then(|value| add(&mut domains, value, MAX_DOMAINS)),
                "key" => read_key(rest).and_then(|value| add(&mut keys, value, MAX_KEYS)),
                _ => Err(format!("this is none of the statements: {STATEMENTS}")),
            };
            read.map_err(|what| KeyFileError::Line { line, what })?;
        }
        let missing =
            |is_missing: bool, what| if is_missing { Err(KeyFileError::Missing(what)) } else { Ok(()) };
        missing(domains.is_empty(), "domain NAME")?;
        missing(keys.is_empty(), "key HEX")?;
        Ok(Self {
            owner: owner.ok_or(KeyFileError::Missing("owner NAME"))?,
            domains,
            expires: expires.ok_or(KeyFileError::Missing("expires TIME"))?,
            keys,
        })
    }

    /// The text of the file, private keys and all.
    pub fn text(&self, made: DateTime<Utc>) -> String {
        let mut text = String::from(
            "# The keys that sign the payment requests of jppd. Whoever reads them can sign in your name.\n\
             # The first key signs, all are published. docs/OPERATIONS.md tells how to change them.\n",
        );
        text.push_str(&format!("owner {}\nexpires {}\n", self.owner, self.expiration_date()));
        for domain in &self.domains {
            text.push_str(&format!("domain {domain}\n"));
        }
        let made = made.to_rfc3339_opts(SecondsFormat::Secs, true);
        for (key, public) in self.keys.iter().zip(self.public_keys()) {
            text.push_str(&format!(
                "# public key {public}, made {made}\nkey {}\n",
                hex::encode(key.secret_bytes())
            ));
        }
        text
    }

    /// The public keys, compressed, in hex.
    pub fn public_keys(&self) -> Vec<String> {
        let curve: Secp256k1<SignOnly> = Secp256k1::signing_only();
        self.keys.iter().map(|key| PublicKey::from_secret_key(&curve, key).to_string()).collect()
    }

    /// The end, as the document and the file write it.
    pub(super) fn expiration_date(&self) -> String {
        self.expires.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("owner", &self.owner)
            .field("domains", &self.domains)
            .field("expires", &self.expires)
            .field("public_keys", &self.public_keys())
            .finish_non_exhaustive()
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err("this was said before".to_owned()),
    }
}

fn add<T: PartialEq>(list: &mut Vec<T>, value: T, most: usize) -> Result<(), String> {
    if list.contains(&value) {
        return Err("this was said before".to_owned());
    }
    if list.len() >= most {
        return Err(format!("there are more than {most} of these"));
    }
    list.push(value);
    Ok(())
}

/// Reads the owner: what a wallet can show on one line.
///
/// # Errors
///
/// What is wrong, for a person.
pub fn read_owner(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.chars().count() <= MAX_OWNER;
    if !fits || text.trim() != text || text.contains(char::is_control) {
        return Err(format!("not an owner: 1 to {MAX_OWNER} characters on one line"));
    }
    Ok(text.to_owned())
}

/// Reads a domain: a host without scheme and port, as wallets compare it with that of the URL.
///
/// # Errors
///
/// What is wrong, for a person.
pub fn read_domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() > 253 || !text.split('.').all(label) {
        return Err(
            "not a domain: a host such as pay.example.com, in small letters, without scheme, port and \
                    path"
                .to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// Reads the end: a day, which ends the keys at its beginning, or a moment.
///
/// # Errors
///
/// What is wrong, for a person.
pub fn read_expiry(text: &str) -> Result<DateTime<Utc>, String> {
    let day = text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    day.or_else(|_| DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc()))
        .ok()
        // The four digits of a year are all that the clients read.
        .filter(|moment| (0..253_402_300_800).contains(&moment.timestamp()))
        .ok_or_else(|| "not a time: a day such as 2030-01-31, or a moment as in RFC 3339".to_owned())
}

fn read_key(text: &str) -> Result<SecretKey, String> {
    let mut bytes = [0; 32];
    let read = hex::decode_to_slice(text, &mut bytes).ok();
    read.and_then(|()| SecretKey::from_slice(&bytes).ok())
        .ok_or_else(|| "not a private key: 64 hex digits, below the order of secp256k1".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(keys: &[u8]) -> KeyFile {
        let key = |tag: &u8| SecretKey::from_slice(&[*tag; 32]).unwrap();
        KeyFile {
            owner: "Café & Sons".to_owned(),
            domains: vec!["pay.example.com".to_owned(), "localhost".to_owned()],
            expires: read_expiry("2030-01-31").unwrap(),
            keys: keys.iter().map(key).collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let made = read_expiry("2026-01-31T12:00:00+01:00").unwrap();
        for keys in [&[1][..], &[2, 1, 3]] {
            let text = file(keys).text(made);
            assert_eq!(KeyFile::parse(&text), Ok(file(keys)), "{text}");
            assert_eq!(KeyFile::parse(&text.replace('\n', "\r\n\n")), Ok(file(keys)));
        }
        let text = file(&[1]).text(made);
        assert!(text.contains("owner Café & Sons\nexpires 2030-01-31T00:00:00.000Z\n"), "{text}");
        // The generator's multiple by 0x0101…01, known from elsewhere by its compressed form.
        let public = "031b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f";
        assert!(
            text.contains(&format!("# public key {public}, made 2026-01-31T11:00:00Z\nkey 0101")),
            "{text}"
        );
        assert_eq!(file(&[1]).public_keys(), [public]);
    }

    #[test]
    fn new_keys() {
        let new = |random| KeyFile::new("o".into(), vec!["d".into()], DateTime::UNIX_EPOCH, random);
        assert_eq!(new(&[1; 32]).unwrap().keys, file(&[1]).keys);
        assert_eq!(new(&[0; 32]), None);
        assert_eq!(new(&[0xff; 32]), None);
    }

    #[test]
    fn nothing_shows_a_private_key() {
        let shown = format!("{:?} {:#?}", file(&[0x5a]), file(&[0x5a]));
        assert!(!shown.to_lowercase().contains("5a5a"), "{shown}");
        let secret = "5a".repeat(32);
        for text in
            [secret.clone(), format!("secret {secret}"), format!("key {secret}zz"), format!("key {secret}")]
        {
            let error = KeyFile::parse(&text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("5a5a"), "{error}");
        }
    }

    #[test]
    fn a_bad_line_names_itself() {
        let good = "owner o\nexpires 2030-01-31\ndomain a.b\nkey 0101010101010101010101010101010101010101010101010101010101010101\n";
        assert!(KeyFile::parse(good).is_ok());
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        let table = [
            ("owner", "line 5: not an owner"),
            ("owner again", "line 5: this was said before"),
            ("expires 2031-01-31", "line 5: this was said before"),
            ("expires never", "line 5: not a time"),
            ("expires 1800000000", "line 5: not a time"),
            ("expires 1969-12-31", "line 5: not a time"),
            ("domain a.b", "line 5: this was said before"),
            ("domain", "line 5: not a domain"),
            ("domain https://a.b", "line 5: not a domain"),
            ("domain a.b:443", "line 5: not a domain"),
            ("domain A.b", "line 5: not a domain"),
            ("domain a..b", "line 5: not a domain"),
            ("domain -a.b", "line 5: not a domain"),
            ("key", "line 5: not a private key"),
            ("key 01", "line 5: not a private key"),
            (&format!("key {order}"), "line 5: not a private key"),
            (&format!("key {}", "00".repeat(32)), "line 5: not a private key"),
            (&format!("key {}", "01".repeat(32)), "line 5: this was said before"),
            ("keys 01", "line 5: this is none of the statements: owner NAME"),
            ("[jpp]", "line 5: this is none of the statements"),
        ];
        for (bad, message) in table {
            let error = KeyFile::parse(&format!("{good}{bad}\n")).unwrap_err().to_string();
            assert!(error.starts_with(message), "{bad}: {error}");
        }
        for (at, statement) in
            ["owner NAME", "expires TIME", "domain NAME", "key HEX"].into_iter().enumerate()
        {
            let rest: String = good
                .lines()
                .enumerate()
                .filter(|(line, _)| *line != at)
                .map(|(_, line)| format!("{line}\n"))
                .collect();
            assert_eq!(KeyFile::parse(&rest), Err(KeyFileError::Missing(statement)));
        }
        let many: String = (1..=17).map(|tag| format!("key {}\n", hex::encode([tag; 32]))).collect();
        assert!(
            KeyFile::parse(&many).unwrap_err().to_string().starts_with("line 17: there are more than 16")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = KeyFile::parse(&text);
        }

        #[test]
        fn any_statement_is_answered(word in "(owner|expires|domain|key)", rest in ".*") {
            let _ = KeyFile::parse(&format!("{word} {rest}"));
        }
    }
}
