//! The `faultgate` binary.
fn main() {}
