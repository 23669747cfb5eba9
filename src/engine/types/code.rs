//! Fault codes: what the numbers of one vendor's model mean.

use std::collections::BTreeMap;

use super::document::Word;
use super::severity::Severity;
use super::text::Bilingual;

/// Class of a code that its table does not have.
pub const UNKNOWN_CLASS: &str = "unknown.vendor_code";

/// The codes of one vendor and model. There is no global table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeTable {
    /// Name by which rules refer to it.
    pub name: String,
    /// Where the entries are from.
    pub source: String,
    /// What each code means, by the code as the metric's value is written.
    pub entries: BTreeMap<String, CodeEntry>,
}

/// What one code means. What it leaves out is as the rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeEntry {
    /// Kind of fault in words that hold over vendors, e.g. `elec.overcurrent`.
    pub class: String,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Gas, fire, shock, overpressure, flood.
    pub safety: Option<bool>,
    /// How the device comes out of it.
    pub reset: Option<CodeReset>,
    /// Subject of the ticket, a template.
    pub title: Option<Bilingual>,
    /// What to do about it, a template.
    pub advice: Option<Bilingual>,
}

/// How a device comes out of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeReset {
    /// By itself, when the cause is gone.
    Auto,
    /// Somebody has to reset it at the device.
    Manual,
}

impl Word for CodeReset {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", CodeReset::Auto), ("manual", CodeReset::Manual)];
}

/// A fault code as an alarm carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCode {
    /// The code.
    pub code: String,
    /// Its class; [`UNKNOWN_CLASS`] when the table does not have it.
    pub class: String,
    /// How the device comes out of it, where the table says.
    pub reset: Option<CodeReset>,
    /// Name of the table and where its entries are from.
    pub table: String,
}
