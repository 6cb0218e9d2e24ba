//! Who belongs to whom, of everything that a search has looked at. Pure.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use tidings_engine::Record;

/// What is remembered of a record. A hash of 0 is that of nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) lane: u32,
    pub(super) offset: i64,
    id: u64,
    correlation: u64,
    cause: u64,
}

/// Who belongs to whom.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) seen: Vec<Seen>,
    /// Numbers in `seen` of those that mention what is searched for.
    pub(super) matches: Vec<usize>,
}

/// Whether bytes mention a text as a whole word.
fn mentions(bytes: &[u8], text: &str) -> bool {
    // Of bytes that are no text only the beginning is, and the rest cannot be looked into.
    let said = match std::str::from_utf8(bytes) {
        Ok(said) => said,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    };
    let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    said.match_indices(text).any(|(at, _)| {
        is_apart(said[..at].chars().next_back()) && is_apart(said[at + text.len()..].chars().next())
    })
}

/// The headers that say who belongs to whom.
#[derive(Default)]
struct Ids<'r> {
    id: Option<&'r str>,
    correlation: Option<&'r str>,
    cause: Option<&'r str>,
    subject: Option<&'r str>,
}

impl<'r> Ids<'r> {
    fn of(record: &'r Record) -> Self {
        let mut ids = Self::default();
        for header in &record.headers {
            let place = match header.name.as_ref() {
                "ce_id" => &mut ids.id,
                "ce_correlationid" => &mut ids.correlation,
                "ce_causationid" => &mut ids.cause,
                "ce_subject" => &mut ids.subject,
                _ => continue,
            };
            *place = header.value.as_deref().and_then(|value| std::str::from_utf8(value).ok());
        }
        ids
    }

    fn is(&self, text: &str) -> bool {
        [self.id, self.correlation, self.cause, self.subject].contains(&Some(text))
    }
}

/// Whether a record is one of those that are searched for.
fn is_match(record: &Record, ids: &Ids, text: &str) -> bool {
    ids.is(text)
        || record.key.as_deref().is_some_and(|key| key == text.as_bytes() || mentions(key, text))
        || record.value.as_deref().is_some_and(|value| mentions(value, text))
}

impl Index {
    pub(super) fn add(&mut self, hasher: &RandomState, lane: u32, record: &Record, text: &str) {
        let ids = Ids::of(record);
        let hash = |text: Option<&str>| text.map_or(0, |text| hasher.hash_one(text).max(1));
        if is_match(record, &ids, text) {
            self.matches.push(self.seen.len());
        }
        self.seen.push(Seen {
            lane,
            offset: record.offset,
            id: hash(ids.id),
            correlation: hash(ids.correlation),
            cause: hash(ids.cause),
        });
    }

    /// Numbers of all that belongs to the matches, they themselves first: the same correlation, or cause and effect
    /// of each other where there is none. At most so many.
    pub(super) fn belonging(&self, seeds: &[Seen], most: usize) -> (Vec<usize>, bool) {
        let mut picked: Vec<usize> = self.matches.iter().copied().take(most).collect();
        let mut is_picked: HashSet<usize> = picked.iter().copied().collect();
        let mut known = Known::default();
        for seen in seeds.iter().chain(picked.iter().map(|&number| &self.seen[number])) {
            known.take(seen);
        }
        // What belongs to something that is found later in the same round is found in the next one.
        loop {
            let before = picked.len();
            for (number, seen) in self.seen.iter().enumerate() {
                if !known.has(seen) || is_picked.contains(&number) {
                    continue;
                }
                if picked.len() >= most {
                    return (picked, true);
                }
                is_picked.insert(number);
                picked.push(number);
                known.take(seen);
            }
            if picked.len() == before {
                return (picked, self.matches.len() > most);
            }
        }
    }
}

/// Hashes by which records belong together.
#[derive(Default)]
struct Known {
    correlations: HashSet<u64>,
    ids: HashSet<u64>,
    causes: HashSet<u64>,
}

impl Known {
    fn take(&mut self, seen: &Seen) {
        let add = |set: &mut HashSet<u64>, hash: u64| {
            if hash != 0 {
                set.insert(hash);
            }
        };
        // An event without a correlation may be what the correlation of others is named after.
        add(&mut self.correlations, if seen.correlation == 0 { seen.id } else { seen.correlation });
        add(&mut self.ids, seen.id);
        add(&mut self.causes, seen.cause);
    }

    fn has(&self, seen: &Seen) -> bool {
        self.correlations.contains(&seen.correlation)
            || self.correlations.contains(&seen.id)
            || self.ids.contains(&seen.cause)
            || self.causes.contains(&seen.id)
            || self.ids.contains(&seen.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_as_a_whole_word() {
        for (bytes, text, found) in [
            (&br#"{"order":"536365","lines":[1]}"#[..], "536365", true),
            (br#"{"order":"5363651"}"#, "536365", false),
            (br#"{"order":"A536365"}"#, "536365", false),
            (b"536365", "536365", true),
            (b"1536365 536365", "536365", true),
            (b"a 536365-b", "536365", true),
            ("é536365".as_bytes(), "536365", false),
            (b"536365 \xff\xfe", "536365", true),
            (b"\xff 536365", "536365", false),
            (b"", "536365", false),
        ] {
            assert_eq!(mentions(bytes, text), found, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    fn seen(offset: i64, id: u64, correlation: u64, cause: u64) -> Seen {
        Seen { lane: 0, offset, id, correlation, cause }
    }

    #[test]
    fn what_belongs_together_is_picked() {
        // The first one mentions it.
        for (all, wanted) in [
            (vec![seen(0, 1, 9, 0), seen(1, 2, 9, 1), seen(2, 3, 8, 0)], vec![0, 1]),
            // Without correlations: the cause of the cause, and the effect of the effect, in whatever order.
            (
                vec![
                    seen(0, 5, 0, 4),
                    seen(1, 4, 0, 3),
                    seen(2, 3, 0, 0),
                    seen(3, 7, 0, 6),
                    seen(4, 6, 0, 5),
                    seen(5, 50, 0, 40),
                ],
                vec![0, 1, 2, 3, 4],
            ),
            // The root names the correlation and has none itself.
            (vec![seen(0, 2, 1, 1), seen(1, 1, 0, 0)], vec![0, 1]),
            (vec![seen(0, 1, 0, 0), seen(1, 2, 1, 0)], vec![0, 1]),
            // Records that say nothing belong to nobody.
            (vec![seen(0, 0, 0, 0), seen(1, 0, 0, 0)], vec![0]),
            // Causes in a ring end as well.
            (vec![seen(0, 1, 0, 2), seen(1, 2, 0, 1)], vec![0, 1]),
        ] {
            let index = Index { seen: all.clone(), matches: vec![0] };
            let (mut picked, is_cut) = index.belonging(&[], 100);
            picked.sort_unstable();
            assert_eq!((picked, is_cut), (wanted, false), "{all:?}");
        }
        let many = Index {
            seen: (0..50).map(|n| seen(n, n as u64 + 1, 9, 0)).collect(),
            matches: vec![7],
        };
        let (picked, is_cut) = many.belonging(&[], 10);
        assert_eq!((picked.len(), picked[0], is_cut), (10, 7, true));
        let (picked, _) = Index { seen: vec![seen(0, 2, 9, 1)], matches: vec![] }
            .belonging(&[seen(5, 1, 9, 0)], 10);
        assert_eq!(picked, [0], "of what an earlier page has found");
    }
}
