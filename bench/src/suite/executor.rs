//! What carries the journal's writes out, by itself: both ways, beside raw writes of the same size and
//! depth. The difference is what handing a write to another thread and back costs.

use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{bail, ensure};
use bytes::Bytes;
use tidings_node::broker::log::{BLOCK_BYTES, Disk as _, JournalWrite, OpenMode};
use tidings_node::{FileDisk, JournalIo, JournalIoChoice, JournalIoEvent};

use crate::measured::{Heading, Limit, Measured};
use crate::suite::Round;

/// Places that writes go round in.
const PLACES: usize = 64;

pub(super) fn measure(round: &mut Round<'_>) -> anyhow::Result<()> {
    for (size, depth) in [(4 << 10, 1), (16 << 10, 4), (4 << 10, 8), (256 << 10, 4)] {
        let raw = round.raw_writes(size, depth)?;
        for (way, choice) in
            [("io_uring", JournalIoChoice::Uring), ("threads", JournalIoChoice::Threads)]
        {
            let measured = write(round, choice, size, depth)?;
            let name = format!("{way}: {} KiB, {depth} at once", size >> 10);
            round.put(Heading::against(name, Limit::Operations(raw.clone()), ""), measured);
        }
    }
    Ok(())
}

/// Into a file that was written before.
fn write(
    round: &Round<'_>,
    choice: JournalIoChoice,
    size: usize,
    depth: usize,
) -> anyhow::Result<Measured> {
    let dir: &Path = &round.dir.join("executor");
    let disk = FileDisk::open(dir)?;
    let file = disk.open(&format!("ring-{size}"), OpenMode::Durable)?;
    let room = Bytes::from(vec![0x5a; size + BLOCK_BYTES]);
    let start = room.as_ptr().align_offset(BLOCK_BYTES);
    let bytes = room.slice(start..start + size);
    for place in 0..PLACES {
        let offset = (place * size) as u64;
        if file.len()? <= offset {
            file.write_at(&bytes, offset)?;
        }
    }
    let (send, events) = mpsc::channel();
    // The loop that would hear it may have ended, by a failure of its own.
    let io = JournalIo::start(&disk, choice, depth, move |event| drop(send.send(event)))?;
    let mut begun = vec![Instant::now(); PLACES];
    let (mut next, mut out, mut latencies) = (0, 0, Vec::new());
    let start = Instant::now();
    loop {
        while out < depth && start.elapsed() < round.span {
            begun[next % PLACES] = Instant::now();
            let offset = (next % PLACES * size) as u64;
            let ended = io.submit(JournalWrite::loose(file.clone(), offset, bytes.clone()));
            ensure!(ended.is_none(), "the file is not on a disk");
            (next, out) = (next + 1, out + 1);
        }
        if out == 0 {
            break;
        }
        match events.recv()? {
            JournalIoEvent::Done(write, outcome) => {
                outcome?;
                let place = usize::try_from(write.offset)? / size;
                latencies.push(begun[place].elapsed());
                out -= 1;
            }
            JournalIoEvent::Lost(reason) => bail!("the executor failed: {reason}"),
        }
    }
    let bytes = (latencies.len() * size) as u64;
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}
