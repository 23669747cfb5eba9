//! What is drawn of a fault: plain numbers, which the connectors make a picture of.

use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Most points of a plot: it waits in the outbox with its ticket.
pub const POINTS_MAX: usize = 100;
/// Most thresholds, and most levels of return.
pub const LEVELS_MAX: usize = 4;

/// A number that is none of infinite and NaN, with half the digits. Kept by its bits: it is read as
/// it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub struct Level(u32);

impl Level {
    /// The number; `None` for one that cannot be drawn.
    pub fn of(number: f64) -> Option<Level> {
        let number = number as f32;
        // Without a negative zero.
        number.is_finite().then(|| Level((number + 0.0).to_bits()))
    }

    /// The number.
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl From<Level> for u32 {
    fn from(level: Level) -> u32 {
        level.0
    }
}

impl TryFrom<u32> for Level {
    type Error = &'static str;

    fn try_from(bits: u32) -> Result<Level, &'static str> {
        match f32::from_bits(bits).is_finite() {
            true => Ok(Level(bits)),
            false => Err("a level is a finite number"),
        }
    }
}

/// A value and the microsecond since 1970 in which it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point(pub i64, pub Level);

/// The last values of the metric that decided, and what they are compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plot {
    /// Name of the metric.
    pub metric: String,
    /// Its last values, oldest first: two at least.
    pub points: Vec<Point>,
    /// The constants that the condition compares it with.
    pub thresholds: Vec<Level>,
    /// Those of the condition of the return: between both is the dead-band.
    pub clear: Vec<Level>,
    /// When the fault was raised.
    pub raised_at: Timestamp,
    /// Seconds that the clocks at the gateway's place are ahead of UTC then.
    pub utc_offset: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_finite_and_is_read_as_it_was_written() {
        for number in [-12.1, 0.1, 1e-40, 3.4e38, -0.0] {
            let level = Level::of(number).expect("a level");
            let text = serde_json::to_string(&level).expect("written");
            assert_eq!(serde_json::from_str::<Level>(&text).ok(), Some(level));
            assert_eq!(level.get(), number as f32);
        }
        assert_eq!((Level::of(f64::NAN), Level::of(1e39)), (None, None));
        assert!(serde_json::from_str::<Level>(&f32::INFINITY.to_bits().to_string()).is_err());
    }
}
