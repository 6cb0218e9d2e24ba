//! What a power cut leaves: each change that was not synced is lost, kept, or torn.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::file::{Change, Inode, put};
use super::{MemoryDisk, NameChange, Node, Shared, Tree, parent};

/// The unit that a disk writes whole or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// One change that no sync covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    Write {
        file: u64,
        offset: u64,
        len: u64,
    },
    Truncate {
        file: u64,
        len: u64,
    },
    /// A name made, removed or replaced.
    Name {
        path: &'a str,
    },
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Kept,
    /// Of a write, the sectors whose bit is set reach the disk (the 65th uses the first bit
    /// again); any other change is lost.
    Torn {
        sectors: u64,
    },
}

impl MemoryDisk {
    /// The disk after a power cut, with the fate of each unsynced change as chosen, in the order
    /// files were made and changes happened. Without the crash model, everything is as durable as
    /// it is. Faults and capacity do not carry over; the crash model does.
    #[must_use]
    pub fn crash(&self, choose: &mut dyn FnMut(Unsynced<'_>) -> Fate) -> Self {
        let tree = self.tree();
        let mut names = self.names_left(&tree, choose);
        drop_orphans(&mut names);
        let mut inodes: BTreeMap<u64, Arc<Inode>> = BTreeMap::new();
        for node in names.values() {
            if let Node::File(inode) = node {
                inodes.insert(inode.id, Arc::clone(inode));
            }
        }
        let mut used_bytes = 0;
        let mut left: BTreeMap<u64, Arc<Inode>> = BTreeMap::new();
        for (&id, inode) in &inodes {
            let bytes = self.bytes_left(inode, choose);
            used_bytes += bytes.len() as u64;
            left.insert(id, Arc::new(Inode::settled(id, bytes)));
        }
        let nodes: BTreeMap<String, Node> = names
            .into_iter()
            .map(|(path, node)| match node {
                Node::Dir => (path, Node::Dir),
                Node::File(inode) => (path, Node::File(Arc::clone(&left[&inode.id]))),
            })
            .collect();
        let shared = Shared { crash_model: self.shared.crash_model, ..Shared::default() };
        let tree = Tree {
            durable: nodes.clone(),
            nodes,
            unsynced: Vec::new(),
            inodes_made: tree.inodes_made,
        };
        let shared = Shared { tree: Mutex::new(tree), ..shared };
        shared.trouble().used_bytes = used_bytes;
        Self { shared: Arc::new(shared) }
    }

    fn names_left(
        &self,
        tree: &Tree,
        choose: &mut dyn FnMut(Unsynced<'_>) -> Fate,
    ) -> BTreeMap<String, Node> {
        if !self.shared.crash_model {
            return tree.nodes.clone();
        }
        let mut names = tree.durable.clone();
        for change in &tree.unsynced {
            if choose(Unsynced::Name { path: change.path() }) == Fate::Kept {
                change.apply(&mut names);
            }
        }
        names
    }

    fn bytes_left(
        &self,
        inode: &Inode,
        choose: &mut dyn FnMut(Unsynced<'_>) -> Fate,
    ) -> Arc<Vec<u8>> {
        let content = inode.content();
        if !self.shared.crash_model {
            return Arc::clone(&content.current);
        }
        let mut bytes = Arc::clone(&content.durable);
        for change in &content.unsynced {
            let unsynced = match change {
                Change::Written { offset, bytes } => {
                    Unsynced::Write { file: inode.id, offset: *offset, len: bytes.len() as u64 }
                }
                Change::Truncated { len } => Unsynced::Truncate { file: inode.id, len: *len },
                Change::Lasting { .. } => {
                    change.apply(Arc::make_mut(&mut bytes));
                    continue;
                }
            };
            match (choose(unsynced), change) {
                (Fate::Kept, change) => change.apply(Arc::make_mut(&mut bytes)),
                (Fate::Torn { sectors }, Change::Written { offset, bytes: written }) => {
                    tear(Arc::make_mut(&mut bytes), written, *offset, sectors);
                }
                (Fate::Lost | Fate::Torn { .. }, _) => {}
            }
        }
        bytes
    }
}

/// Puts down the chosen sectors of a write; sectors are counted from the file's start.
fn tear(content: &mut Vec<u8>, written: &[u8], offset: u64, sectors: u64) {
    let mut at = 0;
    let mut sector = 0_u32;
    while at < written.len() {
        let position = offset + at as u64;
        let room = (SECTOR_BYTES - position % SECTOR_BYTES) as usize;
        let end = written.len().min(at + room);
        if sectors >> (sector % 64) & 1 == 1 {
            put(content, &written[at..end], position);
        }
        at = end;
        sector += 1;
    }
}

/// Removes names whose directory did not last.
fn drop_orphans(names: &mut BTreeMap<String, Node>) {
    // In path order a directory comes before what it holds.
    let all: Vec<String> = names.keys().cloned().collect();
    for path in all {
        let dir = parent(&path);
        if !dir.is_empty() && !matches!(names.get(dir), Some(Node::Dir)) {
            names.remove(&path);
        }
    }
}

impl NameChange {
    /// Whether the change is to a name directly in `dir`.
    pub(super) fn is_in(&self, dir: &str) -> bool {
        parent(self.path()) == dir
    }
}
