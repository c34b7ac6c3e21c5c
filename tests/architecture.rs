//! The floors of the house: a room uses what stands below it, never what stands above, and rooms on one floor do
//! not use each other. `src/lib.rs` and `docs/ARCHITECTURE.md` have the map.

#![expect(clippy::unwrap_used, reason = "helpers of a test, which fails where they do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Every room with its floor.
const ROOMS: [(&str, u8); 13] = [
    ("bch", 0),
    ("invoice", 1),
    ("ledger", 2),
    ("store", 3),
    ("node", 3),
    ("engine", 4),
    ("follow", 5),
    ("submit", 5),
    ("audit", 5),
    ("notify", 5),
    ("api", 6),
    ("config", 7),
    ("cli", 7),
];

/// `cli` assembles the others, `config` among them: the one pair on a floor that may.
const ASSEMBLY: (&str, &str) = ("cli", "config");

#[test]
fn no_room_imports_from_its_own_floor_or_above() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floors = BTreeMap::from(ROOMS);
    let mut faults = Vec::new();
    for (room, floor) in ROOMS {
        for file in rust_files(&source.join(room)) {
            for used in rooms_used(&fs::read_to_string(&file).unwrap()) {
                let allowed =
                    used == room || floors[used.as_str()] < floor || (room, used.as_str()) == ASSEMBLY;
                if !allowed {
                    faults.push(format!("{} uses `{used}`", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_room_is_on_the_map() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let folders: BTreeSet<String> = fs::read_dir(&source)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let rooms = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(folders, rooms);
    let map = fs::read_to_string(source.join("lib.rs")).unwrap();
    for (room, floor) in ROOMS {
        let row = map.lines().find(|line| line.contains(&format!("[`{room}`]"))).unwrap_or_default();
        assert!(
            row.contains(&format!("| {floor} |")),
            "lib.rs must say that {room} is on floor {floor}: {row}"
        );
        let essay = fs::read_to_string(source.join(room).join("mod.rs")).unwrap();
        assert!(essay.starts_with("//! "), "{room}/mod.rs must open with its essay");
        assert!(
            essay.contains(&format!("Floor {floor}")),
            "{room}/mod.rs must say that it is on floor {floor}"
        );
    }
}

/// What stands below and is none of a room's business all the same.
#[test]
fn no_room_knows_what_it_must_not() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let strangers = [
        ("node", "invoice"),
        ("node", "ledger"),
        ("store", "node"),
        // Nobody waits for the node on the engine's thread.
        ("engine", "node"),
        // The interface reads through the ledger's view, whatever stands behind it.
        ("api", "store"),
    ];
    for (room, stranger) in strangers {
        for file in rust_files(&source.join(room)) {
            let used = rooms_used(&fs::read_to_string(&file).unwrap());
            assert!(!used.contains(stranger), "{} uses `{stranger}`", file.display());
        }
    }
    // JSON belongs to the interface and bytes at rest to the store: the rooms below have no form but their own.
    for room in ["bch", "invoice", "ledger"] {
        for file in rust_files(&source.join(room)) {
            let code = fs::read_to_string(&file).unwrap();
            for form in ["serde", "prost"] {
                assert!(!code.contains(&format!("{form}::")), "{} knows {form}", file.display());
            }
        }
    }
}

/// The test would see a room that looks up.
#[test]
fn uses_are_found_however_they_are_written() {
    let found = rooms_used(
        "use crate::{\n    bch::Txid,\n    engine::{Engine, store::nothing},\n};\nfn f() { crate::api::serve() } \
         use jppd::cli; // crate::notify in a comment is not a use\n",
    );
    assert_eq!(found, BTreeSet::from(["api", "bch", "engine", "cli"].map(str::to_owned)));
}

/// The rooms that a source text uses: after `crate::`, alone or in braces, and after `jppd::`.
fn rooms_used(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for start in ["crate::", "jppd::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                found.extend(first_words(group));
            } else {
                found.extend(word(rest));
            }
        }
    }
    found.retain(|name| ROOMS.iter().any(|(room, _)| room == name));
    found
}

/// The first word of each path in a group of uses, up to the brace that closes it.
fn first_words(group: &str) -> Vec<String> {
    let (mut words, mut depth, mut at_start) = (Vec::new(), 0, true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            _ if letter.is_whitespace() => {}
            _ if at_start => {
                words.extend(word(&group[at..]));
                at_start = false;
            }
            _ => {}
        }
    }
    words
}

fn word(text: &str) -> Option<String> {
    let word: String = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
    (!word.is_empty()).then_some(word)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
