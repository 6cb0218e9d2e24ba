//! How the files that the process may have open are divided, so that no number of clients takes those that
//! the logs need: a write that finds none takes its partition out of service.

use std::fmt;

use tidings_gateway::limits::HTTP_CONNECTIONS_MAX;
use tidings_node::StoreConfig;

/// The journal, the listeners, what threads wait on, and the files of the parts of a flush.
const FILES_OF_PROCESS: usize = 128;
/// The least with which a node starts.
const FILES_MIN: usize = 256;
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
pub(super) struct TooFew(usize);

impl fmt::Display for TooFew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a process may have {} files open here, and a node needs {FILES_MIN}", self.0)
    }
}

impl Files {
    /// Divides what the system allows.
    pub(super) fn of(limit: u64) -> Result<Self, TooFew> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit < FILES_MIN {
            return Err(TooFew(limit));
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
        assert_eq!(Files::of(255), Err(TooFew(255)));
        for (limit, logs, http, connections) in [
            (256, 32, 8, 80),
            (1_024, 224, 56, 560),
            (4_096, 992, 248, 2_480),
            (1 << 20, 1_024, 512, (1 << 20) - 128 - 2_048),
        ] {
            let files = Files::of(limit).unwrap();
            assert_eq!(files, Files { logs, http, connections }, "{limit}");
            let sum = FILES_OF_PROCESS + logs + 2 * http + connections;
            assert_eq!(sum as u64, limit);
        }
        assert!(Files::of(u64::MAX).unwrap().connections > 1 << 30);
    }
}
