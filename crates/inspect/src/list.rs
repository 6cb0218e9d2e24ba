//! What a segment holds, for people.

use bytes::Bytes;
use tidings_log::{BatchHeader, Disk, Fault, OpenMode};

use crate::partition::Inventory;
use crate::source::Source;
use crate::walk::{Known, Piece, Walk};
use crate::{Damage, file_kind};

/// One thing in a segment, in the order of its bytes.
#[derive(Clone, Debug)]
pub enum Listed {
    Batch {
        header: BatchHeader,
        position: u64,
        /// The whole batch, for [`tidings_log::Batch::parse`].
        bytes: Bytes,
    },
    Damage(Damage),
}

/// Walks a segment, over damage too. `each` is handed everything in it until it says that it has
/// enough.
pub fn batches(
    disk: &dyn Disk,
    log: &str,
    each: &mut dyn FnMut(Listed) -> std::ops::ControlFlow<()>,
) -> Result<(), Fault> {
    let (folder, _) = log.rsplit_once('/').unwrap_or(("", log));
    let base_offset = file_kind(log).1.unwrap_or(0);
    let inventory = Inventory::take(disk, folder)?;
    let index = inventory.hints(disk, base_offset);
    let file = disk.open(log, OpenMode::Existing)?;
    let mut source = Source::new(&*file, file.len()?);
    let until = inventory.next_base(base_offset);
    let mut walk =
        Walk::new(&mut source, Known { base_offset, until, index: &index, epochs: None });
    while let Some(piece) = walk.next()? {
        let listed = match (&piece, walk.content(&piece)?) {
            (&Piece::Batch { header, position, .. }, Some(bytes)) => {
                Listed::Batch { header, position, bytes }
            }
            _ => match piece.damage(log) {
                Some(damage) => Listed::Damage(damage),
                None => continue,
            },
        };
        if each(listed).is_break() {
            break;
        }
    }
    Ok(())
}
