//! Topic patterns: which levels of an MQTT topic say who reports.

use crate::engine::types::device::DeviceFacts;

/// A pattern such as `plant/{site}/{class}/{device}/telemetry`.
///
/// `{name}` takes one level, `{name...}` takes one or more; empty levels are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Fixed(String),
    One(Capture),
    Many(Capture),
}

/// What a captured level says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capture {
    /// The device's id.
    Device,
    /// Its class.
    Class,
    /// Its site.
    Site,
    /// Its region.
    Region,
    /// Its customer.
    Customer,
    /// The metric that the payload holds.
    Metric,
    /// A label of this name.
    Label(String),
    /// Anything: `{_}` or `+`.
    Ignored,
}

/// What a topic said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Device, class, site, region, customer, labels; what the topic does not say is empty.
    pub facts: DeviceFacts,
    /// The metric, where the topic names one.
    pub metric: Option<String>,
}

/// Why text is not a topic pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A brace is not closed, or stands within a level.
    #[error("a capture must be a whole level such as `{{device}}`")]
    Brace,
    /// `{name...}` stands twice.
    #[error("only one capture may take several levels")]
    TwoMany,
    /// A name that means nothing.
    #[error(
        "`{{{0}}}` is no capture; write device, class, site, region, customer, metric, _ or labels.NAME"
    )]
    Unknown(String),
    /// Nothing at all.
    #[error("a topic pattern cannot be empty")]
    Empty,
}

impl TopicPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Says what is wrong with the pattern.
    pub fn parse(text: &str) -> Result<TopicPattern, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let levels = text.split('/').map(parse_level).collect::<Result<Vec<_>, _>>()?;
        if levels.iter().filter(|level| matches!(level, Level::Many(_))).count() > 1 {
            return Err(PatternError::TwoMany);
        }
        Ok(TopicPattern { levels })
    }

    /// What `topic` says, or `None` when it does not fit.
    pub fn captures(&self, topic: &str) -> Option<Captured> {
        let count = topic.bytes().filter(|byte| *byte == b'/').count() + 1;
        let spare = (count + 1).checked_sub(self.levels.len())?;
        let mut rest = Some(topic);
        let mut captured = Captured::default();
        for level in &self.levels {
            let taken = if matches!(level, Level::Many(_)) { spare } else { 1 };
            let (head, tail) = take_levels(rest?, taken)?;
            match level {
                Level::Fixed(text) if head == text => {}
                Level::Fixed(_) => return None,
                Level::One(capture) | Level::Many(capture) => captured.set(capture, head),
            }
            rest = tail;
        }
        rest.is_none().then_some(captured)
    }

    /// True when a level names the metric that the payload holds.
    pub fn captures_metric(&self) -> bool {
        let metric = |level: &Level| match level {
            Level::One(capture) | Level::Many(capture) => *capture == Capture::Metric,
            Level::Fixed(_) => false,
        };
        self.levels.iter().any(metric)
    }

    /// A topic that fits, with `{device}` and `{class}` for the two; other captures stand for
    /// themselves by their names.
    pub fn template(&self) -> String {
        let level = |level: &Level| match level {
            Level::Fixed(text) => text.clone(),
            Level::One(capture) | Level::Many(capture) => capture.placeholder().to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }

    /// The MQTT filter that covers the pattern.
    pub fn filter(&self) -> String {
        let mut levels = Vec::new();
        for level in &self.levels {
            match level {
                Level::Fixed(text) => levels.push(text.as_str()),
                Level::One(_) => levels.push("+"),
                Level::Many(_) => {
                    levels.push("#");
                    break;
                }
            }
        }
        levels.join("/")
    }
}

impl Capture {
    fn placeholder(&self) -> &str {
        match self {
            Capture::Device => "{device}",
            Capture::Class => "{class}",
            Capture::Site => "site",
            Capture::Region => "region",
            Capture::Customer => "customer",
            Capture::Metric => "metric",
            Capture::Label(name) => name,
            Capture::Ignored => "_",
        }
    }
}

/// The first `count` levels, and what follows them; `None` where there are fewer, or none.
fn take_levels(topic: &str, count: usize) -> Option<(&str, Option<&str>)> {
    let mut ends = topic.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    match ends.nth(count.checked_sub(1)?) {
        Some(end) => Some((topic.get(..end)?, Some(topic.get(end + 1..)?))),
        None => Some((topic, None)),
    }
}

impl Captured {
    fn set(&mut self, capture: &Capture, text: &str) {
        match capture {
            Capture::Device => self.facts.id = text.to_owned(),
            Capture::Class => self.facts.class = text.to_owned(),
            Capture::Site => self.facts.site = text.to_owned(),
            Capture::Region => self.facts.region = text.to_owned(),
            Capture::Customer => self.facts.customer = text.to_owned(),
            Capture::Metric => self.metric = Some(text.to_owned()),
            Capture::Label(name) => {
                self.facts.labels.insert(name.clone(), text.to_owned());
            }
            Capture::Ignored => {}
        }
    }
}

fn parse_level(text: &str) -> Result<Level, PatternError> {
    if text == "+" {
        return Ok(Level::One(Capture::Ignored));
    }
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        return if text.contains(['{', '}', '+', '#']) {
            Err(PatternError::Brace)
        } else {
            Ok(Level::Fixed(text.to_owned()))
        };
    };
    match inner.strip_suffix("...") {
        Some(name) => parse_capture(name).map(Level::Many),
        None => parse_capture(inner).map(Level::One),
    }
}

fn parse_capture(name: &str) -> Result<Capture, PatternError> {
    Ok(match name {
        "device" => Capture::Device,
        "class" => Capture::Class,
        "site" => Capture::Site,
        "region" => Capture::Region,
        "customer" => Capture::Customer,
        "metric" => Capture::Metric,
        "_" => Capture::Ignored,
        _ => match name.strip_prefix("labels.").filter(|label| !label.is_empty()) {
            Some(label) => Capture::Label(label.to_owned()),
            None => return Err(PatternError::Unknown(name.to_owned())),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(pattern: &str, topic: &str) -> Option<(String, String, Option<String>)> {
        let pattern = TopicPattern::parse(pattern).expect("the pattern is right");
        pattern.captures(topic).map(|c| (c.facts.site, c.facts.id, c.metric))
    }

    #[test]
    fn levels_are_captured_and_empty_ones_are_kept() {
        let pattern = "plant/{site}/{class}/{device}/telemetry";
        let found = captured(pattern, "plant/上海-1/freezer/冷柜-3/telemetry");
        assert_eq!(found, Some(("上海-1".into(), "冷柜-3".into(), None)));
        let found = captured(pattern, "plant//freezer//telemetry");
        assert_eq!(found, Some((String::new(), String::new(), None)));
        assert_eq!(captured(pattern, "plant/a/b/c/d/telemetry"), None);
        assert_eq!(captured(pattern, "plant/a/b/c/status"), None);
    }

    #[test]
    fn one_capture_takes_several_levels() {
        let found = captured("shop/{site...}/{device}/{metric}", "shop/a/b/c/d1/temp");
        assert_eq!(found, Some(("a/b/c".into(), "d1".into(), Some("temp".into()))));
        assert_eq!(captured("shop/{site...}/{device}/{metric}", "shop/d1/temp"), None);
        let pattern = TopicPattern::parse("shop/{site...}/{device}").expect("the pattern is right");
        assert_eq!(pattern.filter(), "shop/#");
    }

    #[test]
    fn a_capture_of_several_levels_takes_at_least_one() {
        assert_eq!(captured("a/{device...}", "a"), None);
        assert_eq!(captured("{site}/{device...}/x", "a/x"), None);
        let found = captured("{device...}", "a//b");
        assert_eq!(found, Some((String::new(), "a//b".into(), None)));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        assert_eq!(TopicPattern::parse("a/{device"), Err(PatternError::Brace));
        assert_eq!(TopicPattern::parse("{device...}/{site...}"), Err(PatternError::TwoMany));
        assert_eq!(TopicPattern::parse("{dev}"), Err(PatternError::Unknown("dev".into())));
    }

    #[test]
    fn a_template_fits_its_own_pattern() {
        let pattern = TopicPattern::parse("a/{region}/{class}/{labels.hall}/{device...}/+");
        let pattern = pattern.expect("a pattern");
        let template = pattern.template();
        assert_eq!(template, "a/region/{class}/hall/{device}/_");
        let topic = template.replace("{class}", "泵").replace("{device}", "line/p-1");
        let facts = pattern.captures(&topic).expect("it fits").facts;
        assert_eq!((facts.class.as_str(), facts.id.as_str()), ("泵", "line/p-1"));
    }
}
