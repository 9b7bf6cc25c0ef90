//! The name that was meant.

use strsim::osa_distance;

use crate::printable::printable;

/// A name with more mistakes than this is another one; and so is one with more than a
/// third of it mistaken.
const MISTAKES: usize = 3;

/// Longer names are not compared: no board's is.
const LONGEST: usize = 100;

/// The one of `names` that is nearest to `meant`, by letters that are missing, too many,
/// wrong, or exchanged with the next; none if none is near. Of equally near ones the
/// first. Capitals count little, and so does the directory of a board that was meant to
/// be elsewhere: `beagle` suggests `rack1/beagle`.
pub fn nearest<'a>(meant: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let letters = |name: &[u8]| printable(name).to_lowercase();
    let meant_alone = last(meant);
    if meant.len() > LONGEST {
        return None;
    }
    let (meant, meant_alone) = (letters(meant), letters(meant_alone));
    let allowed = |name: &str| (name.chars().count() / 3).clamp(1, MISTAKES);
    names
        .filter(|name| name.len() <= LONGEST)
        .filter_map(|name| {
            let whole = osa_distance(&meant, &letters(name));
            let alone = osa_distance(&meant_alone, &letters(last(name)));
            // In another directory it is further away than any mistake in the name.
            let near = (whole <= allowed(&meant)).then_some(whole);
            let moved = (alone <= allowed(&meant_alone)).then_some(MISTAKES + 1 + alone);
            Some((near.or(moved)?, name))
        })
        .min()
        .map(|(_, name)| name)
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant() {
        let names: [&[u8]; 6] = [
            b"beagle",
            b"beaglebone",
            b"imx8",
            b"rack1/imx6",
            b"rack1/zynq",
            b"a1",
        ];
        for (meant, nearest_is) in [
            ("beagel", Some("beagle")),
            ("Beagle", Some("beagle")),
            ("beagle-", Some("beagle")),
            ("beaglebon", Some("beaglebone")),
            ("imx7", Some("imx8")),
            ("zynq", Some("rack1/zynq")),
            ("rack2/zynq", Some("rack1/zynq")),
            ("rakc1/zynq", Some("rack1/zynq")),
            ("rack1/imx8", Some("rack1/imx6")),
            ("a2", Some("a1")),
            ("raspberry", None),
            ("zz", None),
            ("", None),
        ] {
            let found = nearest(meant.as_bytes(), names.into_iter());
            assert_eq!(found, nearest_is.map(str::as_bytes), "{meant}");
        }
        assert_eq!(nearest(&[b'a'; 300], names.into_iter()), None);
        assert_eq!(nearest(b"beagl\xff", names.into_iter()), None);
        assert_eq!(nearest(b"beagle", std::iter::empty()), None);
    }
}
