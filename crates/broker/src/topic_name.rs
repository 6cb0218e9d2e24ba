//! Which topic names are legal, and which are the broker's own.

use crate::{TopicRefused, limits};

/// The topic that keeps committed offsets and group generations.
pub(crate) const CONSUMER_OFFSETS: &str = "__consumer_offsets";
/// Names that begin so are for the broker's own use.
const OWN_PREFIX: &str = "__tidings_";
/// The topic that keeps what is known of transactional ids.
pub(crate) const TRANSACTION_STATE: &str = "__transaction_state";

/// Kafka's rules: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..`.
pub(crate) fn check(name: &str) -> Result<(), TopicRefused> {
    let trouble = if name.is_empty() {
        "it is empty".to_owned()
    } else if name == "." || name == ".." {
        "it may not be '.' or '..'".to_owned()
    } else if name.len() > limits::TOPIC_NAME_BYTES_MAX {
        format!("it is longer than {} characters", limits::TOPIC_NAME_BYTES_MAX)
    } else if !name.bytes().all(|c| c.is_ascii_alphanumeric() || b"._-".contains(&c)) {
        "it may hold only ASCII letters, digits, '.', '_' and '-'".to_owned()
    } else {
        return Ok(());
    };
    let shown: String = name.chars().take(limits::TOPIC_NAME_BYTES_MAX).collect();
    Err(TopicRefused::InvalidName(format!("topic name {shown:?} is invalid: {trouble}")))
}

/// Whether only the broker may write the topic.
pub(crate) fn is_internal(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE || name.starts_with(OWN_PREFIX)
}

/// Whether a coordinator keeps its state there: the topic is created on first use.
pub(crate) fn is_coordinators(name: &str) -> bool {
    name == CONSUMER_OFFSETS || name == TRANSACTION_STATE
}

pub(crate) fn reserved(name: &str) -> TopicRefused {
    TopicRefused::InvalidName(format!("{name} is the broker's own topic"))
}

/// The folder of a partition, as Kafka names it.
pub(crate) fn folder(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Where a partition's folder is kept that belongs to no topic: named as Kafka names its strays,
/// and no partition's folder itself.
pub(crate) fn stray(folder: &str, unique: [u8; 16]) -> String {
    let suffix = format!(".{:032x}-stray", u128::from_be_bytes(unique));
    let room = limits::FOLDER_NAME_BYTES_MAX - suffix.len();
    format!("{}{suffix}", &folder[..folder.len().min(room)])
}

/// The topic and partition that a folder's name says, if it is one of a partition.
pub(crate) fn of_folder(folder: &str) -> Option<(&str, i32)> {
    let (topic, partition) = folder.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|c| c.is_ascii_digit());
    if !digits || check(topic).is_err() {
        return None;
    }
    Some((topic, partition.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_legal_as_in_kafka() {
        let longest = "x".repeat(249);
        for name in ["orders", "a.b_c-D9", "__consumer_offsets", "...", &longest] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        let too_long = "x".repeat(250);
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &too_long] {
            assert!(matches!(check(name), Err(TopicRefused::InvalidName(_))), "{name:?}");
        }
    }

    #[test]
    fn a_stray_is_no_partition_and_fits_a_file_system() {
        assert_eq!(stray("a-0", [1; 16]), format!("a-0.{}-stray", "01".repeat(16)));
        let longest = folder(&"x".repeat(249), 9_999);
        assert_eq!(stray(&longest, [1; 16]).len(), 255);
        assert_eq!(of_folder(&stray(&longest, [1; 16])), None);
    }

    #[test]
    fn a_folder_says_its_partition() {
        assert_eq!(of_folder(&folder("a-1", 2)), Some(("a-1", 2)));
        for other in ["lost+found", "orders", "orders-", "orders-x", "-1", "a b-0", "a--1x"] {
            assert_eq!(of_folder(other), None, "{other}");
        }
    }
}
