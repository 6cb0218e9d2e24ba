//! What `#[derive(Event)]` refuses, and where it points.

#[test]
fn the_derive_points_at_the_token_to_change() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
