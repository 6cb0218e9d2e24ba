//! A disk that breaks under the writer: an image that claims more room than the small disk below it
//! has. Its file system takes writes, and the device fails them later with an I/O error.

use tidings_compat::{LoopDisk, Server, SmallDisk, eventually};

use crate::load::{Load, Manner, PATIENCE};

/// Room below, and what the image claims.
const THIN_MIB: u64 = 96;
const CLAIMED_MIB: u64 = 1024;
const EACH: u64 = 200;
const LARGE: Manner =
    Manner { idempotent: false, repeats: false, batch: "10", codec: "none", value_bytes: 20_000 };

#[test]
fn after_an_io_error_nothing_is_acknowledged_and_what_was_is_there() {
    let below = SmallDisk::mount(THIN_MIB).expect("a small disk");
    let disk = LoopDisk::thin(below.path(), CLAIMED_MIB).expect("a thin disk");
    let mut server = Server::start_below(disk.path()).expect("the server starts");
    let mut load = Load::new(server.kafka(), "kept", &[LARGE]);
    let broken = eventually(PATIENCE, || {
        load.send(EACH);
        load.finish();
        (!load.refused().is_empty()).then_some(())
    });
    assert!(broken.is_some(), "the disk does not break");
    let acknowledged = load.acknowledged_now();
    assert!(acknowledged > 0, "nothing was acknowledged before it broke");
    load.send(1);
    load.finish();
    assert_eq!(load.acknowledged_now(), acknowledged, "acknowledged after the failure");
    load.check(server.kafka(), 4, false);
    server.kill().expect("the server ends");
    println!(
        "thin disk: {acknowledged} records acknowledged before the error, none after, all read"
    );
}
