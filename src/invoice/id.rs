//! The name of an invoice.

use std::fmt;

use uuid::Uuid;

/// A random (version 4) UUID: unguessable, and silent about when and how many were made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvoiceId(Uuid);

impl InvoiceId {
    /// A new one, from the system's randomness.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// An id from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The one that sorts next; `None` after the last.
    pub fn following(self) -> Option<Self> {
        self.0.as_u128().checked_add(1).map(|next| Self(Uuid::from_u128(next)))
    }

    /// Reads an id in every spelling of a UUID: 32 hex digits, with dashes, in braces, as `urn:uuid:`, in
    /// either case.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

/// 32 hex digits in lower case, without dashes: the form of every URL and every JSON.
impl fmt::Display for InvoiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.simple().fmt(f)
    }
}

impl fmt::Debug for InvoiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InvoiceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        let id = InvoiceId::parse("2c442fff579b4dee995e4640c452258c").unwrap();
        for text in [
            "2C442FFF579B4DEE995E4640C452258C",
            "2c442fff-579b-4dee-995e-4640c452258c",
            "{2c442fff-579b-4dee-995e-4640c452258c}",
            "urn:uuid:2c442fff-579b-4dee-995e-4640c452258c",
        ] {
            assert_eq!(InvoiceId::parse(text), Some(id), "{text}");
        }
        assert_eq!(id.to_string(), "2c442fff579b4dee995e4640c452258c");
        for text in ["", "zzz", "2c442fff579b4dee995e4640c452258", "2c442fff579b4dee995e4640c452258c0", "\0"]
        {
            assert_eq!(InvoiceId::parse(text), None, "{text:?}");
        }
    }
}
