//! How many files this process may have open.
//!
//! Every connection and every partition's log, checkpoint and indexes take one; running out makes
//! writes fail, and a failed write takes its partition out of service until a restart. The soft
//! limit that a shell gives is often 1,024, while the hard one, which anybody may take, is large.

use std::io;

/// Raises this process's soft limit of open files to its hard limit, and returns it.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "std has no resource limits")]
    // SAFETY: `limit` is a valid `rlimit` for the calls to fill in and to read.
    let done = unsafe {
        let read = libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        read | libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit)
    };
    if done == 0 { Ok(limit.rlim_cur) } else { Err(io::Error::last_os_error()) }
}

/// How many files this process has open beyond the standard three; called first, those that whoever
/// started it has left open for it, which count as its own.
pub fn open_files() -> io::Result<u64> {
    /// The listing itself has one.
    const KNOWN: u64 = 4;
    let open = std::fs::read_dir("/proc/self/fd")?.count() as u64;
    Ok(open.saturating_sub(KNOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_counts() {
        const MORE: usize = 1_000;
        let files: Vec<_> = (0..MORE).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
        assert!(open_files().unwrap() >= files.len() as u64);
    }

    #[test]
    fn the_limit_is_what_may_be_had() {
        let limit = raise_open_files().unwrap();
        assert_eq!(raise_open_files().unwrap(), limit);
        let said = std::fs::read_to_string("/proc/self/limits").unwrap();
        let row = said.lines().find(|l| l.starts_with("Max open files")).unwrap();
        let numbers: Vec<&str> = row.split_whitespace().skip(3).take(2).collect();
        assert_eq!(numbers, [limit.to_string(), limit.to_string()]);
    }
}
