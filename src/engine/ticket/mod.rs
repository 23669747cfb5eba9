//! Stage 8: what tickets and comments say, in the language of the gateway.
//!
//! Titles and advice are templates that operators write; everything else is composed here. Device
//! text is data: it is put on one line and can carry no template code.

mod comment;
mod draft;
mod template;

pub use comment::{
    comment_all, comment_back, comment_escalated, comment_joined, comment_left, comment_members,
    comment_reopened, comment_resolved, comment_restored, comment_steady, comment_still_raised,
    comment_unsteady, comment_worse, late_note,
};
pub use draft::{Decided, Evidence, Speech, and_more, compose, compose_storm, sparkline};
pub use template::{TemplateFault, check};
