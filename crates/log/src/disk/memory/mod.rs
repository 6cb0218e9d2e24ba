//! A disk in memory that can tear, lose, corrupt and refuse.
//!
//! Plain, it is a fast volatile disk: the engine runs on it when nothing is to be kept.
//! [`MemoryDisk::with_crash_model`] also keeps, per file, what a sync has made durable and the
//! operations since, and the same for the names in directories; [`MemoryDisk::crash`] builds from
//! that any disk a power cut could leave. A name is durable only after `sync_dir`, bytes and length
//! only after `sync`. Clones share one disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{BLOCK_BYTES, Disk, Entry, Fault, FaultKind, File, OpenMode};

mod crash;
mod file;
#[cfg(test)]
mod tests;

pub use crash::{Fate, SECTOR_BYTES, Unsynced};
use file::{Inode, OpenFile};

/// A disk in memory that can tear, lose, corrupt and refuse.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether unsynced operations are kept for [`MemoryDisk::crash`].
    crash_model: bool,
    tree: Mutex<Tree>,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Tree {
    /// Everything that exists, by path; the root is implied.
    nodes: BTreeMap<String, Node>,
    /// What of it a crash leaves, and what happened to names since, oldest first.
    durable: BTreeMap<String, Node>,
    unsynced: Vec<NameChange>,
    inodes_made: u64,
}

#[derive(Clone, Debug)]
enum Node {
    Dir,
    File(Arc<Inode>),
}

#[derive(Clone, Debug)]
enum NameChange {
    Made { path: String, node: Node },
    Removed { path: String },
    Renamed { from: String, to: String, node: Node },
}

impl NameChange {
    /// The path whose directory must be synced for the change to last.
    fn path(&self) -> &str {
        match self {
            Self::Made { path, .. } | Self::Removed { path } => path,
            Self::Renamed { to, .. } => to,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, Node>) {
        match self {
            Self::Made { path, node } => {
                names.insert(path.clone(), node.clone());
            }
            Self::Removed { path } => {
                names.remove(path);
            }
            Self::Renamed { from, to, node } => {
                names.remove(from);
                names.insert(to.clone(), node.clone());
            }
        }
    }
}

/// The faults asked for, and the room there is.
#[derive(Debug, Default)]
struct Trouble {
    /// Calls that change something, since the disk was made.
    calls: u64,
    fail_from_call: Option<(u64, FaultKind)>,
    syncs_fail: bool,
    reads_fail: bool,
    /// A file, and which block of it.
    bad_block: Option<(String, u64)>,
    capacity_bytes: Option<u64>,
    used_bytes: u64,
}

impl Trouble {
    fn fails_read(&self, path: &str, offset: u64, len: usize) -> bool {
        let block = BLOCK_BYTES as u64;
        let touches = |(bad, number): &(String, u64)| {
            bad == path && offset < (number + 1) * block && offset + len as u64 > number * block
        };
        self.reads_fail || self.bad_block.as_ref().is_some_and(touches)
    }
}

impl MemoryDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk that remembers what is not synced, without bound, so that it can [`crash`](Self::crash).
    pub fn with_crash_model() -> Self {
        Self { shared: Arc::new(Shared { crash_model: true, ..Shared::default() }) }
    }

    /// Calls so far that change the disk or make it durable.
    pub fn calls(&self) -> u64 {
        self.trouble().calls
    }

    /// Lets `calls` more changing calls succeed and fails all after them, until [`Self::heal`]. A
    /// write that fails leaves half its bytes.
    pub fn fail_after(&self, calls: u64, kind: FaultKind) {
        let mut trouble = self.trouble();
        trouble.fail_from_call = Some((trouble.calls + calls, kind));
    }

    /// Fails every sync of a file or a directory until [`Self::heal`].
    pub fn fail_syncs(&self) {
        self.trouble().syncs_fail = true;
    }

    /// Fails every read until [`Self::heal`].
    pub fn fail_reads(&self) {
        self.trouble().reads_fail = true;
    }

    /// Fails every read that touches this block of the file until [`Self::heal`].
    pub fn fail_reads_of(&self, path: &str, block: u64) {
        self.trouble().bad_block = Some((path.to_owned(), block));
    }

    /// Ends all failing; the capacity stays.
    pub fn heal(&self) {
        let mut trouble = self.trouble();
        trouble.fail_from_call = None;
        trouble.syncs_fail = false;
        trouble.reads_fail = false;
        trouble.bad_block = None;
    }

    /// What a kernel may do when a sync failed: readers see everything written to the file, and what
    /// no sync covered will never be durable.
    pub fn forget_unsynced(&self, path: &str) {
        if let Some(inode) = self.inode(path) {
            inode.content().forget_unsynced();
        }
    }

    /// Bounds the sum of all file lengths: a write past it puts down what fits and fails with
    /// `NoSpace`.
    pub fn set_capacity(&self, bytes: u64) {
        self.trouble().capacity_bytes = Some(bytes);
    }

    /// Sum of all file lengths.
    pub fn used_bytes(&self) -> u64 {
        self.trouble().used_bytes
    }

    /// Every file, by path.
    pub fn files(&self) -> Vec<String> {
        let tree = self.tree();
        let files = tree.nodes.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// A file's bytes, past all faults.
    pub fn read_raw(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.inode(path)?.content().current.to_vec())
    }

    /// Flips one bit of a file at rest; false when there is no such bit.
    pub fn flip_bit(&self, path: &str, bit: u64) -> bool {
        let Some(inode) = self.inode(path) else { return false };
        let flip = |bytes: &mut Arc<Vec<u8>>| match Arc::make_mut(bytes).get_mut((bit / 8) as usize)
        {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                true
            }
            None => false,
        };
        let mut content = inode.content();
        flip(&mut content.durable);
        flip(&mut content.current)
    }

    /// Cuts a file at rest; false when it is missing or not that long.
    pub fn truncate_raw(&self, path: &str, len: u64) -> bool {
        let Some(inode) = self.inode(path) else { return false };
        let mut content = inode.content();
        let before = content.current.len() as u64;
        if len > before {
            return false;
        }
        Arc::make_mut(&mut content.durable).truncate(len as usize);
        Arc::make_mut(&mut content.current).truncate(len as usize);
        self.trouble().used_bytes -= before - len;
        true
    }

    /// An independent copy of everything as it is now, all of it durable, without faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        self.crash(&mut |_| Fate::Kept)
    }

    fn inode(&self, path: &str) -> Option<Arc<Inode>> {
        match self.tree().nodes.get(path)? {
            Node::File(inode) => Some(Arc::clone(inode)),
            Node::Dir => None,
        }
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.shared.tree()
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.shared.trouble()
    }
}

impl Shared {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().expect("no holder of the tree panics")
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().expect("no holder of the faults panics")
    }

    /// Counts a changing call and tells whether it is to fail.
    fn enter(&self, operation: &'static str, path: &str) -> Result<(), Fault> {
        let mut trouble = self.trouble();
        trouble.calls += 1;
        match &trouble.fail_from_call {
            Some((from, kind)) if trouble.calls > *from => {
                Err(fault(operation, path, kind.clone()))
            }
            _ => Ok(()),
        }
    }

    fn enter_sync(&self, path: &str) -> Result<(), Fault> {
        self.enter("sync", path)?;
        if self.trouble().syncs_fail {
            return Err(fault("sync", path, FaultKind::Io("sync failed".to_owned())));
        }
        Ok(())
    }
}

fn fault(operation: &'static str, path: &str, kind: FaultKind) -> Fault {
    Fault { operation, path: path.to_owned(), offset: None, kind }
}

/// The directory that holds `path`; the root is the empty string.
fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Tree {
    fn has_dir(&self, dir: &str) -> bool {
        dir.is_empty() || matches!(self.nodes.get(dir), Some(Node::Dir))
    }

    fn change(&mut self, change: NameChange, crash_model: bool) {
        change.apply(&mut self.nodes);
        if crash_model {
            self.unsynced.push(change);
        }
    }

    /// Paths below `dir`, not `dir` itself.
    fn below(&self, dir: &str) -> Vec<String> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let from = self.nodes.range(prefix.clone()..);
        from.map(|(path, _)| path).take_while(|path| path.starts_with(&prefix)).cloned().collect()
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &str, mode: OpenMode) -> Result<Arc<dyn File>, Fault> {
        let mut tree = self.tree();
        let inode = match tree.nodes.get(path) {
            Some(Node::File(inode)) => Arc::clone(inode),
            Some(Node::Dir) => {
                return Err(fault("open", path, FaultKind::Io("is a directory".to_owned())));
            }
            None if mode != OpenMode::Existing && tree.has_dir(parent(path)) => {
                self.shared.enter("create", path)?;
                tree.inodes_made += 1;
                let inode = Arc::new(Inode::new(tree.inodes_made));
                let node = Node::File(Arc::clone(&inode));
                let change = NameChange::Made { path: path.to_owned(), node };
                tree.change(change, self.shared.crash_model);
                inode
            }
            None => return Err(fault("open", path, FaultKind::NotFound)),
        };
        Ok(Arc::new(OpenFile::new(Arc::clone(&self.shared), inode, path, mode)))
    }

    fn list(&self, dir: &str) -> Result<Vec<Entry>, Fault> {
        let tree = self.tree();
        if !tree.has_dir(dir) {
            return Err(fault("list", dir, FaultKind::NotFound));
        }
        let skip = if dir.is_empty() { 0 } else { dir.len() + 1 };
        let mut entries = Vec::new();
        for path in tree.below(dir) {
            let name = &path[skip..];
            if !name.contains('/') {
                let is_dir = matches!(tree.nodes.get(&path), Some(Node::Dir));
                entries.push(Entry { name: name.to_owned(), is_dir });
            }
        }
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &str) -> Result<(), Fault> {
        let mut tree = self.tree();
        let ends = dir.match_indices('/').map(|(at, _)| at).chain([dir.len()]);
        for end in ends.filter(|&end| end > 0) {
            let path = &dir[..end];
            match tree.nodes.get(path) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => {
                    return Err(fault("create", path, FaultKind::Io("is a file".to_owned())));
                }
                None => {
                    self.shared.enter("create", path)?;
                    let change = NameChange::Made { path: path.to_owned(), node: Node::Dir };
                    tree.change(change, self.shared.crash_model);
                }
            }
        }
        Ok(())
    }

    fn remove_file(&self, path: &str) -> Result<(), Fault> {
        let mut tree = self.tree();
        let Some(Node::File(inode)) = tree.nodes.get(path).cloned() else {
            return Err(fault("remove", path, FaultKind::NotFound));
        };
        self.shared.enter("remove", path)?;
        self.trouble().used_bytes -= inode.unlink();
        tree.change(NameChange::Removed { path: path.to_owned() }, self.shared.crash_model);
        Ok(())
    }

    fn remove_dir_all(&self, dir: &str) -> Result<(), Fault> {
        let mut tree = self.tree();
        if !matches!(tree.nodes.get(dir), Some(Node::Dir)) {
            return Err(fault("remove", dir, FaultKind::NotFound));
        }
        self.shared.enter("remove", dir)?;
        for path in tree.below(dir).into_iter().rev().chain([dir.to_owned()]) {
            if let Some(Node::File(inode)) = tree.nodes.get(&path) {
                self.trouble().used_bytes -= inode.unlink();
            }
            tree.change(NameChange::Removed { path }, self.shared.crash_model);
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), Fault> {
        let mut tree = self.tree();
        let Some(node) = tree.nodes.get(from).cloned() else {
            return Err(fault("rename", from, FaultKind::NotFound));
        };
        if matches!(node, Node::Dir) {
            let why = FaultKind::Io("directories are not renamed".to_owned());
            return Err(fault("rename", from, why));
        }
        self.shared.enter("rename", to)?;
        if let Some(Node::File(replaced)) = tree.nodes.get(to)
            && from != to
        {
            self.trouble().used_bytes -= replaced.unlink();
        }
        let change = NameChange::Renamed { from: from.to_owned(), to: to.to_owned(), node };
        tree.change(change, self.shared.crash_model);
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> Result<(), Fault> {
        let mut tree = self.tree();
        if !tree.has_dir(dir) {
            return Err(fault("sync", dir, FaultKind::NotFound));
        }
        self.shared.enter_sync(dir)?;
        let tree = &mut *tree;
        tree.unsynced.retain(|change| {
            let synced = change.is_in(dir);
            if synced {
                change.apply(&mut tree.durable);
            }
            !synced
        });
        Ok(())
    }

    fn sync_all(&self) -> Result<(), Fault> {
        let mut tree = self.tree();
        self.shared.enter_sync("")?;
        let tree = &mut *tree;
        for node in tree.nodes.values() {
            if let Node::File(inode) = node {
                inode.content().settle();
            }
        }
        for change in tree.unsynced.drain(..) {
            change.apply(&mut tree.durable);
        }
        Ok(())
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        let trouble = self.trouble();
        Ok(trouble.capacity_bytes.map_or(u64::MAX, |all| all.saturating_sub(trouble.used_bytes)))
    }

    fn total_bytes(&self) -> Result<u64, Fault> {
        Ok(self.trouble().capacity_bytes.unwrap_or(u64::MAX))
    }
}
