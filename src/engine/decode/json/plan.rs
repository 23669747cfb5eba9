//! A mapping as a pass over a document wants it: a flat list of places, in the order in which they
//! are served.

use std::ops::Range;

use super::super::mapping::{JsonMapping, MetricSource};
use super::super::pointer::Pointer;
use super::super::time_field::TimeUnit;

/// A mapping and the places that it names.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPlan {
    mapping: JsonMapping,
    places: Vec<(Pointer, Role)>,
    /// Those of an element; the others lead to the elements.
    element: Range<u32>,
    /// What the keys on the way are called matters.
    pub(super) keeps_path: bool,
    pub(super) counts: bool,
}

/// What is at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The array whose members are elements.
    Each,
    Device,
    Time(TimeUnit),
    Quality,
    /// The value of the metric of this number.
    Metric(usize),
    /// What decides whether a member counts for the metric of this number.
    Only(usize),
    /// The array whose members the metric of this number counts.
    Count(usize),
}

impl Role {
    /// What lies below is told by the mapping, and is not one of the other scalars.
    fn covers(self) -> bool {
        match self {
            Role::Device | Role::Time(_) | Role::Quality | Role::Metric(_) => true,
            Role::Each | Role::Only(_) | Role::Count(_) => false,
        }
    }
}

impl Default for JsonPlan {
    fn default() -> JsonPlan {
        JsonPlan::new(JsonMapping::default())
    }
}

impl JsonPlan {
    /// Makes the places of a mapping out.
    pub fn new(mapping: JsonMapping) -> JsonPlan {
        let mut places = Vec::new();
        places.extend(mapping.each.iter().map(|at| (at.clone(), Role::Each)));
        let first = places.len() as u32;
        places.extend(mapping.device.iter().map(|at| (at.clone(), Role::Device)));
        let time = mapping.timestamp.iter();
        places.extend(time.map(|field| (field.path.clone(), Role::Time(field.unit))));
        places.extend(mapping.quality.iter().map(|at| (at.path.clone(), Role::Quality)));
        let (mut counts, mut has_names) = (false, false);
        for (index, (name, source)) in mapping.metrics.iter().enumerate() {
            match source {
                MetricSource::At { pointers, .. } => {
                    has_names |= name.contains("{1}");
                    let pointers = pointers.iter();
                    places.extend(pointers.map(|at| (at.clone(), Role::Metric(index))));
                }
                MetricSource::Count { array, only } => {
                    counts = true;
                    places.push((array.clone(), Role::Count(index)));
                    places.extend(only.iter().map(|(at, _)| (at.clone(), Role::Only(index))));
                }
            }
        }
        JsonPlan {
            element: first..places.len() as u32,
            places,
            keeps_path: mapping.rest || has_names,
            counts,
            mapping,
        }
    }

    /// What the operator wrote.
    pub fn mapping(&self) -> &JsonMapping {
        &self.mapping
    }

    pub(super) fn place(&self, index: u32) -> Option<&(Pointer, Role)> {
        self.places.get(index as usize)
    }

    /// The places outside of the elements.
    pub(super) fn outside(&self) -> Range<u32> {
        0..self.element.start
    }

    /// The places of an element.
    pub(super) fn element(&self) -> Range<u32> {
        self.element.clone()
    }

    /// True when place `index` or what it stands for is reached by a path of this many keys.
    pub(super) fn covers(&self, index: u32, level: usize) -> bool {
        let place = self.place(index);
        place.is_some_and(|(at, role)| role.covers() && at.fixed_levels() == level)
    }
}
