//! The name that was meant.

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
///
/// Everybody waits meanwhile, so no more is found out than whether a name is nearer than
/// those before it.
pub fn nearest<'a>(meant: &[u8], names: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    if meant.len() > LONGEST {
        return None;
    }
    let (mut whole, mut letters, mut rows) = (Vec::new(), Vec::new(), Rows::default());
    spell(meant, &mut whole);
    let alone = last(&whole);
    let mut best: Option<(usize, &[u8])> = None;
    for name in names.filter(|name| name.len() <= LONGEST) {
        spell(name, &mut letters);
        let far = best.map_or(usize::MAX, |(far, _)| far);
        let near = rows.distance(&whole, &letters, allowed(&whole).min(far));
        // In another directory it is further away than any mistake in the name.
        let moved = || {
            let most = allowed(alone).min(far.checked_sub(MISTAKES + 1)?);
            Some(MISTAKES + 1 + rows.distance(alone, last(&letters), most)?)
        };
        if let Some(found) = near.or_else(moved).map(|far| (far, name)) {
            best = Some(best.map_or(found, |best| best.min(found)));
        }
    }
    best.map(|(_, name)| name)
}

/// How many mistakes there can be in a name: never all of it.
fn allowed(letters: &[char]) -> usize {
    let most = (letters.len() / 3).clamp(1, MISTAKES);
    most.min(letters.len().saturating_sub(1))
}

/// The letters of a name as it is shown, small.
fn spell(name: &[u8], letters: &mut Vec<char>) {
    letters.clear();
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\\';
    if name.iter().all(is_plain) {
        letters.extend(
            name.iter()
                .map(|byte| char::from(byte.to_ascii_lowercase())),
        );
    } else {
        letters.extend(printable(name).chars().flat_map(char::to_lowercase));
    }
}

fn last(path: &[char]) -> &[char] {
    path.rsplit(|letter| *letter == '/').next().unwrap_or(path)
}

/// Three rows of the table by which a distance is found.
#[derive(Default)]
struct Rows {
    before: Vec<usize>,
    last: Vec<usize>,
    next: Vec<usize>,
}

impl Rows {
    /// The optimal string alignment distance, if it is no more than `most`.
    fn distance(&mut self, one: &[char], other: &[char], most: usize) -> Option<usize> {
        if one.len().abs_diff(other.len()) > most {
            return None;
        }
        let same = |(one, other): &(&char, &char)| one == other;
        let begin = one.iter().zip(other).take_while(same).count();
        let (one, other) = (one.get(begin..)?, other.get(begin..)?);
        let pairs = one.iter().rev().zip(other.iter().rev());
        let end = pairs.take_while(same).count();
        let one = one.get(..one.len() - end)?;
        let other = other.get(..other.len() - end)?;
        let beyond = most + 1;
        self.last.clear();
        self.last.extend((0..=other.len()).map(|at| at.min(beyond)));
        self.before.clear();
        self.before.resize(other.len() + 1, beyond);
        for (row, letter) in (1..).zip(one) {
            self.next.clear();
            self.next.resize(other.len() + 1, beyond);
            if let Some(first) = self.next.first_mut() {
                *first = row.min(beyond);
            }
            // Further from the diagonal it is more than `most`.
            let columns = row.saturating_sub(most).max(1)..=(row + most).min(other.len());
            for column in columns {
                let far = self.cell((one, row, *letter), (other, column))?;
                *self.next.get_mut(column)? = far.min(beyond);
            }
            let is_beyond = |row: &[usize]| row.iter().all(|far| *far >= beyond);
            if is_beyond(&self.next) && is_beyond(&self.last) {
                return None;
            }
            std::mem::swap(&mut self.before, &mut self.last);
            std::mem::swap(&mut self.last, &mut self.next);
        }
        self.last.last().copied().filter(|far| *far <= most)
    }

    fn cell(
        &self,
        (one, row, letter): (&[char], usize, char),
        (other, column): (&[char], usize),
    ) -> Option<usize> {
        let facing = *other.get(column - 1)?;
        let wrong = self.last.get(column - 1)? + usize::from(letter != facing);
        let missing = self.last.get(column)? + 1;
        let more = self.next.get(column - 1)? + 1;
        let mut far = wrong.min(missing).min(more);
        if row > 1
            && column > 1
            && one.get(row - 2) == Some(&facing)
            && other.get(column - 2) == Some(&letter)
        {
            far = far.min(self.before.get(column - 2)? + 1);
        }
        Some(far)
    }
}

#[cfg(test)]
mod tests {
    use strsim::osa_distance;

    use super::*;

    #[test]
    fn what_was_meant() {
        let names: [&[u8]; 7] = [
            b"beagle",
            b"beaglebone",
            b"imx8",
            b"rack1/imx6",
            b"rack1/zynq",
            b"a1",
            b"b",
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
            ("B", Some("b")),
            ("c", None),
            ("", None),
        ] {
            let found = nearest(meant.as_bytes(), names.into_iter());
            assert_eq!(found, nearest_is.map(str::as_bytes), "{meant}");
        }
        assert_eq!(nearest(&[b'a'; 300], names.into_iter()), None);
        assert_eq!(nearest(b"beagl\xff", names.into_iter()), None);
        assert_eq!(nearest(b"beagle", std::iter::empty()), None);
    }

    fn letters(name: &str) -> Vec<char> {
        name.chars().collect()
    }

    #[test]
    fn distances_are_what_they_are_elsewhere() {
        let mut names = vec![String::new()];
        for length in 0..5 {
            let longer: Vec<String> = names
                .iter()
                .filter(|name| name.len() == length)
                .flat_map(|name| ["a", "b", "c"].map(|letter| format!("{name}{letter}")))
                .collect();
            names.extend(longer);
        }
        let mut rows = Rows::default();
        for one in &names {
            for other in &names {
                let far = osa_distance(one, other);
                for most in 0..4 {
                    let found = rows.distance(&letters(one), &letters(other), most);
                    assert_eq!(found, (far <= most).then_some(far), "{one} {other} {most}");
                }
            }
        }
    }
}
