//! What the stages hand to one another, and the words they share.
//!
//! One file per arrow of the pipeline, plus the plain building blocks (time, money, names).
//! Every stage may import from here; no stage imports another stage.

pub mod alarm;
pub mod audit;
pub mod calendar;
pub mod chain;
pub mod code;
pub mod decision;
pub mod device;
pub mod diagnostic;
pub mod digest;
pub mod document;
pub mod effect;
pub mod glob;
pub mod input;
pub mod job;
pub mod ledger;
pub mod listing;
pub mod message;
pub mod metering;
pub mod names;
pub mod period;
pub mod plot;
pub mod question;
pub mod reported;
pub mod restored;
pub mod rule;
pub mod selector;
pub mod severity;
pub mod spell;
pub mod tariff;
pub mod text;
pub mod ticket;
pub mod time;
