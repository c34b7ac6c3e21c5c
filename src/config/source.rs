//! Finds values, in the file and among the variables, and remembers where each stood.

use std::ffi::OsString;

use toml::de::{DeTable, DeValue};

use super::{
    error::{Place, Problem},
    keys::{self, KEYS, Key},
    value::Given,
};

/// A value for a key, and where it stood.
pub(super) struct Found {
    pub(super) key: &'static Key,
    pub(super) given: Given,
    pub(super) place: Place,
}

/// Reads the text of a file. `name` is how messages call it.
pub(super) fn from_file(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Found> {
    let mut found = Vec::new();
    let place = |offset: usize| {
        let (line, column) = position(text, offset);
        Place::Line { file: name.to_owned(), line, column }
    };
    let root = match DeTable::parse(text) {
        Ok(root) => root,
        Err(error) => {
            // Only the message: the error's own text repeats the line, and a password may stand on it.
            let place = error.span().map_or_else(|| Place::File(name.to_owned()), |span| place(span.start));
            let what = format!("this is not TOML: {}", error.message().replace('\n', ", "));
            problems.push(Problem { place, key: String::new(), what, allowed: String::new() });
            return found;
        }
    };
    for (section, value) in root.get_ref() {
        let section_place = place(section.span().start);
        let section = section.get_ref().as_ref();
        if !keys::sections().contains(&section) {
            problems.push(unknown_section(section, section_place));
            continue;
        }
        let DeValue::Table(table) = value.get_ref() else {
            let what = "this is a section, not a key".to_owned();
            let allowed = format!("[{section}] on a line of its own");
            problems.push(Problem { place: section_place, key: section.to_owned(), what, allowed });
            continue;
        };
        for (name, value) in table {
            let key_place = place(name.span().start);
            match keys::find(section, name.get_ref()) {
                Some(key) => {
                    let place = place(value.span().start);
                    found.push(Found { key, given: given(value.get_ref()), place });
                }
                None => problems.push(unknown_key(section, name.get_ref(), key_place)),
            }
        }
    }
    // In the order of the file, not of the alphabet.
    found.sort_by_key(|found| match found.place {
        Place::Line { line, column, .. } => (line, column),
        Place::Default | Place::File(_) | Place::Variable(_) => (0, 0),
    });
    problems.sort_by_key(|problem| match problem.place {
        Place::Line { line, column, .. } => (line, column),
        Place::Default | Place::File(_) | Place::Variable(_) => (0, 0),
    });
    found
}

/// Reads the environment: every variable `JPPD_SECTION__KEY`. Others are not ours, but for near misses.
pub(super) fn from_environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> Vec<Found> {
    let mut variables: Vec<_> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value)))
        .filter(|(name, _)| name.starts_with("JPPD_"))
        .collect();
    variables.sort();
    let mut found = Vec::new();
    for (name, value) in variables {
        let place = Place::Variable(name.clone());
        if let Some(key) = KEYS.iter().find(|key| key.variable() == name) {
            match value.into_string() {
                Ok(text) => found.push(Found { key, given: Given::Variable(text), place }),
                Err(_) => problems.push(Problem {
                    place,
                    key: key.path(),
                    what: "the value is not UTF-8".to_owned(),
                    allowed: key.allowed(),
                }),
            }
        } else if let Some(key) = KEYS.iter().find(|key| key.variable().replace("__", "_") == name) {
            let what = "there is no such variable: two underscores part the section from the key".to_owned();
            problems.push(Problem { place, key: key.path(), what, allowed: key.variable() });
        } else if let Some((section, name)) = name.trim_start_matches("JPPD_").split_once("__") {
            let section = section.to_ascii_lowercase();
            if keys::sections().contains(&section.as_str()) {
                let mut problem = unknown_key(&section, &name.to_ascii_lowercase(), place);
                problem.key = String::new();
                problems.push(problem);
            } else {
                problems.push(unknown_section(&section, place));
            }
        }
    }
    found
}

fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::Text(text.as_ref().to_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Given::Number(number.as_str().to_owned()),
        DeValue::Integer(_) => Given::Other("number that is not decimal"),
        DeValue::Float(number) => Given::Number(number.as_str().to_owned()),
        DeValue::Boolean(truth) => Given::Truth(*truth),
        DeValue::Datetime(_) => Given::Other("date"),
        DeValue::Array(entries) => {
            let text = |entry: &DeValue<'_>| entry.as_str().map(str::to_owned);
            let texts = entries.iter().map(|entry| text(entry.get_ref())).collect::<Option<Vec<_>>>();
            texts.map_or(Given::Other("list of other things than texts"), Given::List)
        }
        DeValue::Table(_) => Given::Other("table"),
    }
}

/// A name nobody knows. Its value is never looked at, so that no message can repeat a secret.
fn unknown_key(section: &str, name: &str, place: Place) -> Problem {
    let words = ["password", "passwd", "secret", "api_key", "apikey", "cookie", "signing_key", "private"];
    let is_secret = words.iter().any(|word| name.contains(word));
    let what = if is_secret {
        "there is no such key, and secrets are never written here: name the file that holds them \
         (node.rpc_password_file, node.rpc_cookie_file, http.api_keys_file, jpp.signing_key_file, bip70.key_file)"
    } else {
        "there is no such key"
    };
    let names: Vec<_> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name).collect();
    let allowed = format!("in [{section}]: {}", names.join(", "));
    Problem { place, key: format!("{section}.{}", printable(name)), what: what.to_owned(), allowed }
}

fn unknown_section(section: &str, place: Place) -> Problem {
    let sections: Vec<_> = keys::sections().iter().map(|section| format!("[{section}]")).collect();
    // A key before the first section lands here too.
    let owners: Vec<_> = KEYS.iter().filter(|key| key.name == section).map(Key::path).collect();
    let what = if owners.is_empty() {
        "there is no such section".to_owned()
    } else {
        format!("keys stand in a section; did you mean {}?", owners.join(" or "))
    };
    Problem { place, key: printable(section), what, allowed: sections.join(", ") }
}

fn printable(name: &str) -> String {
    name.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Line and column, counted from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
