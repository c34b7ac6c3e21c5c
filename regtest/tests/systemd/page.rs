//! `docs/OPERATIONS.md`, as its reader goes through it: the blocks to type, by the heading above them.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// The folder of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A fenced block of the page.
struct Block {
    heading: String,
    language: String,
    /// How far the fence is indented, as in a list.
    indent: usize,
    text: String,
}

/// The page.
pub(crate) struct Page(Vec<Block>);

impl Page {
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(repository().join("docs/OPERATIONS.md"))?;
        let mut blocks = Vec::new();
        let mut heading = String::new();
        let mut open: Option<Block> = None;
        for line in text.lines() {
            let bare = line.trim_start();
            match (&mut open, bare.strip_prefix("```")) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line.get(block.indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, Some(language)) => {
                    let (heading, language) = (heading.clone(), language.to_owned());
                    let indent = line.len() - bare.len();
                    open = Some(Block { heading, language, indent, text: String::new() });
                }
                (None, None) if line.starts_with("##") => {
                    heading = line.trim_start_matches('#').trim().to_owned();
                }
                (None, None) => {}
            }
        }
        Ok(Self(blocks))
    }

    /// The blocks of one language below one heading.
    pub(crate) fn blocks<const N: usize>(&self, heading: &str, language: &str) -> Result<[&str; N]> {
        let of = |block: &&Block| block.heading == heading && block.language == language;
        let found: Vec<&str> = self.0.iter().filter(of).map(|block| block.text.as_str()).collect();
        let count = found.len();
        found
            .try_into()
            .ok()
            .with_context(|| format!("{heading:?} has {count} blocks of {language}, not {N}"))
    }

    /// The headings above blocks for the shell, in the order of the page.
    pub(crate) fn headings_with_commands(&self) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for block in self.0.iter().filter(|block| block.language == "sh") {
            if found.last() != Some(&block.heading.as_str()) {
                found.push(&block.heading);
            }
        }
        found
    }
}

/// Sets a key of a configuration file as an editor does: in the line of its section that has it, commented out or not.
pub(crate) fn set(file: &str, section: &str, key: &str, value: &str) -> Result<String> {
    let mut within = false;
    let mut done = false;
    let mut lines = Vec::new();
    for line in file.lines() {
        if line.starts_with('[') {
            within = line.trim_end() == format!("[{section}]");
        }
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if within && !done && bare.split_once(" = ").is_some_and(|(name, _)| name == key) {
            lines.push(format!("{key} = {value}"));
            done = true;
        } else {
            lines.push(line.to_owned());
        }
    }
    if !done {
        bail!("there is no line for {section}.{key}");
    }
    lines.push(String::new());
    Ok(lines.join("\n"))
}

/// The keys of a TOML block, each with its section and its value as it is written.
pub(crate) fn keys(block: &str) -> Vec<(&str, &str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for line in block.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once(" = ") {
            found.push((section, key, value));
        }
    }
    found
}
