//! Amounts of disk as people write them: `512MiB`, `1GiB`, `0`.

/// The units, the largest first, with their bytes.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a whole number with its unit, or a bare `0`, as bytes; `None` for anything else.
pub(super) fn read(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, bytes) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*bytes)
}

/// Writes bytes in the largest unit that keeps them whole. Below a KiB nothing is kept.
pub(super) fn write(bytes: u64) -> String {
    let unit = UNITS.into_iter().find(|(_, size)| bytes.is_multiple_of(*size)).unwrap_or(("KiB", 1 << 10));
    match bytes / unit.1 {
        0 => "0".to_owned(),
        number => format!("{number}{}", unit.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_writes() {
        let table = [
            ("0", 0, "0"),
            ("0GiB", 0, "0"),
            ("1GiB", 1 << 30, "1GiB"),
            ("1024MiB", 1 << 30, "1GiB"),
            ("1536MiB", 1536 << 20, "1536MiB"),
            ("7KiB", 7 << 10, "7KiB"),
            ("2TiB", 2 << 40, "2TiB"),
        ];
        for (text, bytes, written) in table {
            assert_eq!(read(text), Some(bytes), "{text}");
            assert_eq!(write(bytes), written);
        }
        for text in
            ["", "1", "GiB", "1.5GiB", "-1GiB", "1 GiB", "1GB", "1gib", "1G", "99999999999999999999TiB"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(read(&format!("{}TiB", u64::MAX)), None);
    }

    proptest! {
        #[test]
        fn a_written_size_is_read_again(kib in 0..u64::MAX >> 10) {
            prop_assert_eq!(read(&write(kib << 10)), Some(kib << 10));
        }
    }
}
