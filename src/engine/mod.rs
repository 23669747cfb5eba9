//! The pure core: (state, input, now) -> effects.
pub mod types;
