//! A disk that a test can fill: a tmpfs that no process but the test's sees by its own path.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::conversation::Conversation;
use crate::handed_over;

/// For everything a test does with the disk.
const HELD_FOR: Duration = Duration::from_secs(300);
const MOUNTED_WITHIN: Duration = Duration::from_secs(10);
const MIB: u64 = 1024 * 1024;

/// A tmpfs in a mount namespace of its own, held by a process: it is gone with the value, whatever
/// becomes of the test. Other processes of this user reach it through the holder's `/proc`.
#[derive(Debug)]
pub struct SmallDisk {
    _holder: Conversation,
    _mount_point: TempDir,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of this size. Needs Linux, `unshare` as `cargo xtask compat` hands it over,
    /// and the right to make user namespaces.
    pub fn mount(mib: u64) -> anyhow::Result<Self> {
        let mount_point = TempDir::new().context("no temporary directory")?;
        let script =
            "mount -t tmpfs -o \"size=$1m\" tidings \"$0\" && echo \"mounted $$\" && read _";
        let mut unshare = Command::new(handed_over("TIDINGS_COMPAT_UNSHARE"));
        unshare.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        unshare.arg(mount_point.path()).arg(mib.to_string());
        let mut holder = Conversation::start(&mut unshare, HELD_FOR)?;
        let said = holder.expect_within("mounted ", MOUNTED_WITHIN)?;
        let process = said.trim_start_matches("mounted ");
        let inside = mount_point.path().strip_prefix("/").context("a relative mount point")?;
        let path = Path::new("/proc").join(process).join("root").join(inside);
        Ok(Self { _holder: holder, _mount_point: mount_point, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of this size, so that so much less is free.
    pub fn fill(&self, name: &str, mib: u64) -> anyhow::Result<()> {
        let mut file = File::create(self.path.join(name)).context("could not make the filler")?;
        let block = vec![b'x'; usize::try_from(MIB)?];
        for _ in 0..mib {
            file.write_all(&block).context("the filler does not fit")?;
        }
        let written = file.metadata()?.len();
        ensure!(written == mib * MIB, "the filler has {written} bytes");
        Ok(())
    }

    pub fn remove(&self, name: &str) -> anyhow::Result<()> {
        fs::remove_file(self.path.join(name)).context("could not remove the filler")
    }
}
