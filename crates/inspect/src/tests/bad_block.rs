//! A disk that cannot give one block.

use super::{END, FOLDER, SEGMENTS, look, partition, records};
use crate::files::path;
use crate::*;

#[test]
fn a_block_that_cannot_be_read_is_damage_like_any_other() {
    let (whole, claims) = partition();
    let before = records(&whole);
    for path in whole.files() {
        let disk = whole.fork();
        disk.fail_reads_of(&path, 0);
        let found = verify(&disk, FOLDER, Some(&claims), Depth::Records, &mut |_| {}).unwrap();
        let told: Vec<&str> = found.damage.iter().map(|damage| &*damage.path).collect();
        assert_eq!(told, [&*path]);
        let done = repair(&disk, FOLDER, Some(&claims), Mode::Apply).unwrap();
        let lost = done.lost();
        let segment = SEGMENTS.iter().position(|&base| path == self::path(FOLDER, base, ".log"));
        let ends = [SEGMENTS[1], SEGMENTS[2], END];
        let expected: Vec<_> = segment.map(|at| (SEGMENTS[at], ends[at])).into_iter().collect();
        assert_eq!(lost, expected, "{path}");
        if let (Some(_), Some(damage)) = (segment, found.damage.first()) {
            assert_eq!(damage.what, "cannot be read: read failed");
        }
        let claims = done.claims.as_ref().unwrap_or(&claims);
        disk.heal();
        let after = look(&disk, Some(claims));
        assert_eq!((after.damage, after.end_offset), (Vec::new(), END), "{path}");
        let mut left = before.clone();
        left.retain(|offset, _| !lost.iter().any(|&(from, to)| (from..to).contains(offset)));
        assert_eq!(records(&disk), left, "{path}");
    }
}
