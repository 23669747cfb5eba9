//! The pure core: (state, input, now) -> effects.
pub mod decode;
pub mod lifecycle;
pub mod types;
