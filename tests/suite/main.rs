//! One test binary; one module per promise.
fn main() {}
