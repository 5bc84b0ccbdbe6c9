//! What the compiler says of sessions that are out of order and of tables that are no protocols.
//!
//! The texts are those of the stable compiler of the day: `TRYBUILD=overwrite cargo test --all-features
//! --test compiler` writes them anew when it words things otherwise.

#[test]
fn what_is_out_of_order_is_refused_with_a_sentence() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/refused/accepted.rs");
    cases.compile_fail("tests/refused/*_*.rs");
}
