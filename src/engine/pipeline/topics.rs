//! Which device speaks on which topic: what a topic says is read once, not for every message.

use crate::engine::decode::SourceSpec;
use crate::engine::types::names::{DeviceId, Names};

/// Topics that are remembered; past them the topic is read again.
const TOPICS_MAX: usize = 400_000;

/// A name of the kind "topic".
#[derive(Debug)]
enum TopicKind {}

/// The devices behind the topics, by source.
#[derive(Debug, Default)]
pub(super) struct Topics {
    sources: Vec<Option<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    topics: Names<TopicKind>,
    devices: Vec<DeviceId>,
}

impl Topics {
    /// Nothing known yet. Sources whose messages may name another device than their topics do are
    /// left out.
    pub fn new(sources: &[SourceSpec]) -> Topics {
        let book = |source: &SourceSpec| source.topic_tells_all().then(Book::default);
        Topics { sources: sources.iter().map(book).collect() }
    }

    /// The device that speaks on a topic.
    pub fn find(&self, source: usize, topic: &str) -> Option<DeviceId> {
        let book = self.sources.get(source)?.as_ref()?;
        book.devices.get(book.topics.find(topic)?.index()).copied()
    }

    /// Remembers the device of a topic.
    pub fn remember(&mut self, source: usize, topic: &str, device: DeviceId) {
        if let Some(Some(book)) = self.sources.get_mut(source)
            && book.topics.len() < TOPICS_MAX
            && book.topics.intern(topic).index() == book.devices.len()
        {
            book.devices.push(device);
        }
    }

    /// Forgets everything: devices have moved, or other ones are accepted now.
    pub fn forget(&mut self) {
        self.sources.iter_mut().flatten().for_each(|book| *book = Book::default());
    }
}
