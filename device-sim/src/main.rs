//! The `device-sim` binary.
fn main() {}
