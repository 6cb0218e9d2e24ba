//! A disk whose power can be cut: ext4 in an image file, mounted through a loop device.
//!
//! What a process wrote and did not sync is in the page cache of the mounted file system and not in
//! the image. So a copy of the image, taken while the writer is stopped, is what a power cut would
//! have left: everything flushed, and of the rest what the kernel happened to write back.
//!
//! Needs root, `mkfs.ext4` and a loop device; `cargo xtask crash` finds out.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::conversation::{Conversation, run};

/// For everything a test does with the disk.
const HELD_FOR: Duration = Duration::from_secs(3600);
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// A mounted image, in a mount namespace of a process of its own: gone with the value, whatever
/// becomes of the test.
#[derive(Debug)]
pub struct LoopDisk {
    holder: Conversation,
    /// Mount point and, unless it lies elsewhere, the image.
    _folder: TempDir,
    image: PathBuf,
    path: PathBuf,
}

impl LoopDisk {
    /// A new ext4 of this size, its image in a temporary folder.
    pub fn new(mib: u64) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let image = folder.path().join("image");
        make_ext4(&image, mib)?;
        Self::mount(folder, image)
    }

    /// A new ext4 that claims more room than `thin`, a small disk that holds its image, has.
    pub fn thin(thin: &Path, mib: u64) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let image = thin.join("image");
        make_ext4(&image, mib)?;
        Self::mount(folder, image)
    }

    /// What a power cut would leave now, mounted. Whoever writes to this disk must be stopped.
    pub fn after_power_cut(&self) -> anyhow::Result<Self> {
        let folder = TempDir::new().context("no temporary directory")?;
        let image = folder.path().join("image");
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(&self.image).arg(&image);
        run(&mut copy, "", DONE_WITHIN)?.success().context("could not copy the image")?;
        Self::mount(folder, image)
    }

    fn mount(folder: TempDir, image: PathBuf) -> anyhow::Result<Self> {
        let point = folder.path().join("mounted");
        std::fs::create_dir(&point).context("no mount point")?;
        let script = "mount -o loop \"$1\" \"$0\" && echo \"mounted $$\" && read _";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-c", script]).arg(&point).arg(&image);
        let mut holder = Conversation::start(&mut unshare, HELD_FOR)?;
        let said = holder.expect_within("mounted ", DONE_WITHIN)?;
        let process = said.trim_start_matches("mounted ");
        let inside = point.strip_prefix("/").context("a relative mount point")?;
        let path = Path::new("/proc").join(process).join("root").join(inside);
        Ok(Self { holder, _folder: folder, image, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Unmounts, which writes everything back; nothing may be open on it.
    pub fn unmount(self) -> anyhow::Result<()> {
        self.holder.finish()?.success().map(drop)
    }
}

fn make_ext4(image: &Path, mib: u64) -> anyhow::Result<()> {
    let file = File::create(image).context("could not make the image")?;
    file.set_len(mib * 1024 * 1024).context("could not size the image")?;
    let mut mkfs = Command::new("mkfs.ext4");
    // Tables are made at once, or the kernel would go on writing to the image by itself.
    mkfs.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"]).arg(image);
    run(&mut mkfs, "", DONE_WITHIN)?.success().context("mkfs.ext4 failed")?;
    Ok(())
}
