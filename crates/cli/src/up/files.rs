//! How the files that the process may have open are divided, so that no number of clients takes those that
//! the logs need: a write that finds none takes its partition out of service.

use std::fmt;

use tidings_gateway::limits::HTTP_CONNECTIONS_MAX;
use tidings_node::StoreConfig;

/// The journal, the listeners, what threads wait on, and the files of the parts of a flush.
const FILES_OF_PROCESS: usize = 128;
/// The least with which a node starts, beside those that were left open for it.
const FILES_MIN: usize = 256;
/// The runtime's own that are open when these are counted, and no more than that.
const OPEN_AT_START: u64 = 16;
/// Of what is left, segments that are kept open for readers have this part,
const LOGS_SHARE: usize = 4;
/// and each of the two HTTP listeners this. The rest is for Kafka's connections.
const HTTP_SHARE: usize = 16;

const _: () = assert!(FILES_OF_PROCESS < FILES_MIN);

/// Of each kind, how many there may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) logs: usize,
    /// Of each listener.
    pub(super) http: usize,
    pub(super) connections: usize,
}

/// The process may have so few files open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooFew {
    limit: u64,
    left_open: u64,
}

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, left_open } = self;
        write!(f, "a process may have {limit} files open here, and a node needs {FILES_MIN}")?;
        if *left_open == 0 {
            return Ok(());
        }
        write!(f, " beside the {left_open} that whoever started it has left open")
    }
}

impl Files {
    /// Divides what the system allows; `open` are already.
    pub(super) fn of(limit: u64, open: u64) -> Result<Self, TooFew> {
        let left_open = open.saturating_sub(OPEN_AT_START);
        let too_few = TooFew { limit, left_open };
        let limit = usize::try_from(limit.saturating_sub(left_open)).unwrap_or(usize::MAX);
        if limit < FILES_MIN {
            return Err(too_few);
        }
        let rest = limit - FILES_OF_PROCESS;
        let logs = (rest / LOGS_SHARE).min(StoreConfig::default().open_files_max);
        let http = (rest / HTTP_SHARE).min(HTTP_CONNECTIONS_MAX);
        Ok(Self { logs, http, connections: rest - logs - 2 * http })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_divided_and_nothing_is_taken_twice() {
        let few = Files::of(255, OPEN_AT_START).unwrap_err().to_string();
        assert_eq!(few, "a process may have 255 files open here, and a node needs 256");
        let few = Files::of(1_024, 800).unwrap_err().to_string();
        assert!(few.ends_with("beside the 784 that whoever started it has left open"), "{few}");
        for (limit, logs, http, connections) in [
            (256, 32, 8, 80),
            (1_024, 224, 56, 560),
            (4_096, 992, 248, 2_480),
            (1 << 20, 1_024, 512, (1 << 20) - 128 - 2_048),
        ] {
            let files = Files::of(limit + 70, OPEN_AT_START + 70).unwrap();
            assert_eq!(files, Files { logs, http, connections }, "{limit}");
            let sum = FILES_OF_PROCESS + logs + 2 * http + connections;
            assert_eq!(sum as u64, limit);
        }
        assert!(Files::of(u64::MAX, 0).unwrap().connections > 1 << 30);
    }
}
