//! The page in `docs/` is what the tables say. `UPDATE=1` writes it.

use std::path::Path;

#[test]
fn the_documented_protocol_is_the_one_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md");
    let page = tidings_server::protocol_page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == page, "docs/protocol.md is old: UPDATE=1 cargo test -p tidings-server");
}
