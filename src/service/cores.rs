//! The quiet part of a batch on all cores: see `engine/pipeline/lanes.rs`.

use std::thread;

use crate::engine::pipeline::{Engine, Lane};
use crate::engine::types::effect::Effects;
use crate::engine::types::input::Input;
use crate::engine::types::message::Message;
use crate::engine::types::time::Timestamp;

/// Most cores that one batch is spread over.
const CORES_MAX: usize = 8;
/// Fewer messages than this take less time than a thread takes to begin.
const MESSAGES_MIN: usize = 128;

/// How many cores there are to use.
pub fn count() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(CORES_MAX))
}

/// Takes in messages that arrived together, on so many cores.
pub fn step(
    engine: &mut Engine,
    now: Timestamp,
    messages: Vec<Message>,
    cores: usize,
    effects: &mut Effects,
) {
    if cores < 2 || messages.len() < MESSAGES_MIN {
        for message in messages {
            engine.step(now, Input::Message(message), effects);
        }
    } else {
        engine.step_together(now, &messages, cores, run, effects);
    }
}

/// Runs every lane, the first on this thread.
fn run(lanes: &mut [Lane<'_>]) {
    thread::scope(|scope| {
        if let Some((first, others)) = lanes.split_first_mut() {
            for lane in others {
                scope.spawn(|| lane.run());
            }
            first.run();
        }
    });
}
