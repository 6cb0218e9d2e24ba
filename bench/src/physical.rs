//! What the file system can do by itself.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Measured;

/// Small synced writes, large synced writes, reads from the page cache.
pub(crate) fn measure(dir: &Path, span: Duration) -> io::Result<[Measured; 3]> {
    let small = synced_writes(&dir.join("small"), 4 * 1024, span)?;
    let large = synced_writes(&dir.join("large"), 64 * 1024, span)?;
    let reads = cached_reads(&dir.join("large"), span)?;
    Ok([small, large, reads])
}

/// A growing file, as a log is: write at its end, `fdatasync`, again.
fn synced_writes(path: &Path, size: usize, span: Duration) -> io::Result<Measured> {
    let file = File::create(path)?;
    let block = vec![0x5a; size];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        file.write_all_at(&block, (latencies.len() * size) as u64)?;
        file.sync_data()?;
        latencies.push(begun.elapsed());
    }
    let bytes = (latencies.len() * size) as u64;
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}

/// Reads the file, which was just written, over and over.
fn cached_reads(path: &Path, span: Duration) -> io::Result<Measured> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut buffer = vec![0; 1024 * 1024];
    let (mut latencies, mut bytes, mut at) = (Vec::new(), 0, 0);
    let start = Instant::now();
    while start.elapsed() < span {
        let begun = Instant::now();
        let read = file.read_at(&mut buffer, at)?;
        latencies.push(begun.elapsed());
        bytes += read as u64;
        at = if read == 0 { 0 } else { (at + read as u64) % length };
    }
    Ok(Measured::of(latencies, bytes, start.elapsed()))
}
