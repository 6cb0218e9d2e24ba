//! What was probably meant by a name that is not known.

/// The known name with the fewest changes to it, if they are few.
pub(crate) fn nearest<'a>(said: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.into_iter().map(|name| (changes(said, name), name));
    let (changes, name) = near.min()?;
    (changes <= name.chars().count().div_ceil(3)).then_some(name)
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn changes(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (at, letter) in from.chars().enumerate() {
        let mut before = at;
        row[0] = at + 1;
        for (cell, other) in (1..).zip(to.chars()) {
            let changed = before + usize::from(letter != other);
            before = row[cell];
            row[cell] = changed.min(before + 1).min(row[cell - 1] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_when_it_is_near() {
        let known = ["kafka", "engine", "output", "up.data"];
        for (said, wanted) in [
            ("kafak", Some("kafka")),
            ("Kafka", Some("kafka")),
            ("outptu", Some("output")),
            ("up.dta", Some("up.data")),
            ("bootstrap", None),
            ("", None),
        ] {
            assert_eq!(nearest(said, known), wanted, "{said}");
        }
        assert_eq!(changes("kitten", "sitting"), 3);
    }
}
