//! What happened in a run, line by line: when, to whom, what.

use std::cell::RefCell;
use std::rc::Rc;

use faultgate::engine::types::time::Timestamp;

/// The story of one run; it costs nothing while nobody listens.
#[derive(Clone, Debug, Default)]
pub struct Story(Option<Rc<RefCell<String>>>);

impl Story {
    /// One that is kept.
    pub fn kept() -> Story {
        Story(Some(Rc::default()))
    }

    /// Adds a line.
    pub fn tell(&self, at: Timestamp, who: &str, what: impl FnOnce() -> String) {
        if let Some(lines) = &self.0 {
            let what = what();
            let (day, time) = clock(at);
            lines.borrow_mut().push_str(&format!("{day}{time}  {who:<10}  {what}\n"));
        }
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.0.as_ref().map(|lines| lines.borrow().clone()).unwrap_or_default()
    }
}

fn clock(at: Timestamp) -> (String, String) {
    let text = at.to_chrono().format("%d ~%H:%M:%S%.6f").to_string();
    let (day, time) = text.split_once('~').unwrap_or(("", &text));
    (day.to_owned(), time.to_owned())
}
