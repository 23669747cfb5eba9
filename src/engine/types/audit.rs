//! What people did: kept for good.

use serde::{Deserialize, Serialize};

use super::alarm::Signature;

/// One act of a person, on this gateway or in an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// What was done, in one word.
    pub act: String,
    /// The alarm (`rule/device`), ticket (`tk-1`) or job (`tk-1/2`) that it was done to.
    pub subject: String,
    /// Who, when, from where and why.
    #[serde(flatten)]
    pub signature: Signature,
}
