//! What is wrong with the fields of a body, in the shape of the framework that the original was written with.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) enum Complaint {
    /// With the value as it is: `["text"]`.
    Text(String),
    /// With some of its fields: `{"field": …}`. Empty, nothing is wrong.
    Fields(Vec<(&'static str, Complaint)>),
    /// With its items, each of which has its place: `[{}, …]`.
    Items(Vec<Complaint>),
}

impl Complaint {
    /// About the value as it is.
    pub(in crate::api) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// About one field.
    pub(in crate::api) fn field(name: &'static str, complaint: impl Into<Self>) -> Self {
        Self::Fields(vec![(name, complaint.into())])
    }

    /// About an object or a list as a whole.
    pub(in crate::api) fn whole(text: impl Into<String>) -> Self {
        Self::field("non_field_errors", text.into())
    }

    /// About one of several items.
    pub(in crate::api) fn item(index: usize, complaint: Self) -> Self {
        let mut items = vec![Self::none(); index];
        items.push(complaint);
        Self::Items(items)
    }

    /// Nothing.
    pub(in crate::api) fn none() -> Self {
        Self::Fields(Vec::new())
    }

    /// A field that must be there is not.
    pub(in crate::api) fn required() -> Self {
        Self::text("This field is required.")
    }

    /// A field that must have a value is `null`.
    pub(in crate::api) fn null() -> Self {
        Self::text("This field may not be null.")
    }
}

impl From<String> for Complaint {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Complaint {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Serialize for Complaint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => {
                let mut texts = serializer.serialize_seq(Some(1))?;
                texts.serialize_element(text)?;
                texts.end()
            }
            Self::Fields(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (name, complaint) in fields {
                    map.serialize_entry(name, complaint)?;
                }
                map.end()
            }
            Self::Items(items) => items.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let table = [
            (Complaint::field("a", Complaint::required()), r#"{"a":["This field is required."]}"#),
            (Complaint::whole("no"), r#"{"non_field_errors":["no"]}"#),
            (Complaint::item(1, Complaint::field("b", "no")), r#"[{},{"b":["no"]}]"#),
            (Complaint::none(), "{}"),
        ];
        for (complaint, json) in table {
            assert_eq!(serde_json::to_string(&complaint).unwrap(), json);
        }
    }
}
