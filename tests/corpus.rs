//! The fuzz targets over the kept corpus: every file of `fuzz/corpus`, and what is near to each of them.
//!
//! `cargo fuzz run TARGET` searches on from the same files; what it finds is kept there.

use std::{fs, path::Path};

use anyhow::{Result, ensure};

#[path = "../fuzz/properties.rs"]
mod properties;

/// Runs a property over the corpus of its target: the files as they are, cut at every byte, and with each byte changed
/// in a few ways. Gives how many inputs that were.
fn over_the_corpus(target: &str, property: impl Fn(&[u8])) -> Result<usize> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut inputs = 0;
    for file in files {
        let bytes = fs::read(&file)?;
        property(&bytes);
        // Near the beginning stand the counts and lengths; the end of a long file is like its middle.
        for at in 0..bytes.len().min(600) {
            property(&bytes[..at]);
            for change in [0x00, 0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = if change == 0x01 { changed[at].wrapping_add(1) } else { change };
                property(&changed);
            }
            inputs += 5;
        }
        inputs += 1;
    }
    ensure!(inputs > 100, "the corpus of {target} is there");
    Ok(inputs)
}

macro_rules! targets {
    ($($target:ident)*) => {
        $(
            #[test]
            fn $target() -> Result<()> {
                over_the_corpus(stringify!($target), properties::$target).map(drop)
            }
        )*

        #[test]
        fn every_target_is_tried() -> Result<()> {
            let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            let mut names: Vec<String> = fs::read_dir(targets)?
                .map(|entry| Ok(entry?.path().file_stem().unwrap_or_default().to_string_lossy().into_owned()))
                .collect::<Result<_>>()?;
            names.sort();
            ensure!(names == [$(stringify!($target)),*], "{names:?}");
            Ok(())
        }
    };
}

targets! { accept address bip70 invoice_id jpp language transaction }
