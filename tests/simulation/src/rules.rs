//! The rules of a run: once as the model reads them, and from that as the operator writes them.

use faultgate::engine::types::time::TimeSpan;

/// When a rule holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Condition {
    /// A measurement is above the first number; it is over below the second.
    Above(i64, i64),
    /// A contact is closed.
    Closed,
    /// A fault code is not 0; each code is an alarm of its own.
    Code,
}

/// What a ticket collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// One alarm.
    Alarm,
    /// What is wrong with a device.
    Device,
    /// What is wrong at a site: the first alarm waits for others.
    Site,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its id.
    pub id: &'static str,
    /// The metric that it reads.
    pub metric: &'static str,
    /// When it holds.
    pub condition: Condition,
    /// How long it must hold.
    pub on_delay: TimeSpan,
    /// How long the return must hold.
    pub off_delay: TimeSpan,
    /// Waits for a reset.
    pub latch: bool,
    /// What a ticket collects.
    pub per: Per,
    /// How long its ticket is opened again and not a new one.
    pub reopen_within: TimeSpan,
    /// Where its tickets go.
    pub upstream: &'static str,
    /// In a word.
    pub severity: &'static str,
    /// Never held back.
    pub safety: bool,
    /// Escalates.
    pub ladder: bool,
    /// One that changes too often stays raised until it is calm.
    pub flaps: bool,
}

/// Which set is in force; sets are only ever followed by later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edition {
    /// What a run begins with.
    First,
    /// Other words, the same meaning.
    Reworded,
    /// Longer delays and higher limits.
    Slower,
}

/// What an operator has in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// The rules.
    pub edition: Edition,
    /// What the budgets hold, in percent of what they were meant to.
    pub budget: i64,
}

impl Files {
    /// What a run begins with.
    pub const FIRST: Files = Files { edition: Edition::First, budget: 100 };
    /// Percent at which no budget holds anything back.
    pub const LIFTED: i64 = 1_000_000;
}

/// How long the first alarm of a site waits for others.
pub const GROUP_WAIT: TimeSpan = TimeSpan::from_secs(30);

/// The rules of an edition.
pub fn rules(edition: Edition) -> Vec<Rule> {
    let slower = i64::from(edition == Edition::Slower);
    let minutes = |minutes: i64| TimeSpan::from_secs(minutes * 60);
    let plain = plain(slower);
    vec![
        plain.clone(),
        Rule {
            id: "warm",
            condition: Condition::Above(60, 60),
            on_delay: minutes(5 + 5 * slower),
            off_delay: minutes(2),
            upstream: "desk",
            severity: "minor",
            ..plain.clone()
        },
        Rule {
            id: "pressure",
            metric: "bar",
            condition: Condition::Above(9, 8),
            per: Per::Device,
            reopen_within: minutes(60),
            severity: "critical",
            ladder: true,
            ..plain.clone()
        },
        Rule {
            id: "surge",
            metric: "bar",
            condition: Condition::Above(12, 10),
            on_delay: TimeSpan::from_secs(30),
            per: Per::Device,
            reopen_within: minutes(60),
            ..plain.clone()
        },
        Rule {
            id: "burst",
            metric: "bar",
            condition: Condition::Above(14, 12),
            severity: "critical",
            safety: true,
            ..plain.clone()
        },
        Rule {
            id: "boil",
            condition: Condition::Above(85, 82),
            per: Per::Site,
            reopen_within: minutes(20),
            upstream: "desk",
            ..plain.clone()
        },
        Rule {
            id: "leak",
            metric: "wet",
            condition: Condition::Closed,
            latch: true,
            upstream: "desk",
            severity: "critical",
            ladder: true,
            ..plain.clone()
        },
        Rule {
            id: "code",
            metric: "code",
            condition: Condition::Code,
            reopen_within: minutes(30),
            upstream: "desk",
            ..plain
        },
    ]
}

/// One that opens and ends a ticket as it comes and goes.
fn plain(slower: i64) -> Rule {
    Rule {
        id: "hot",
        metric: "temp_c",
        condition: Condition::Above(80 + 10 * slower, 75 + 10 * slower),
        on_delay: TimeSpan::ZERO,
        off_delay: TimeSpan::ZERO,
        latch: false,
        per: Per::Alarm,
        reopen_within: TimeSpan::ZERO,
        upstream: "rt",
        severity: "major",
        safety: false,
        ladder: false,
        flaps: true,
    }
}

/// The rule file of an edition.
pub fn text(edition: Edition) -> String {
    let mut text = String::from(
        "[[ladder]]\nid = \"field\"\n\
         [[ladder.step]]\nafter = \"20m\"\nticket = { comment = true, assign = \"组长\" }\n\
         [[ladder.step]]\nafter = \"3h\"\nticket = { comment = true, assign = \"boss\" }\n",
    );
    for rule in rules(edition) {
        let metric = rule.metric;
        let (when, clear, key) = match rule.condition {
            Condition::Above(high, low) if high == low => (format!("{metric} > {high}"), None, ""),
            Condition::Above(high, low) => {
                (format!("{metric} > {high}"), Some(format!("{metric} < {low}")), "")
            }
            Condition::Closed => (format!("{metric} == true"), None, ""),
            Condition::Code => (format!("{metric} != 0"), None, "key = [\"code\"]\n"),
        };
        let clear = clear.map(|clear| format!("clear_when = \"{clear}\"\n")).unwrap_or_default();
        let word = if edition == Edition::First { "故障" } else { "报警" };
        let per = match rule.per {
            Per::Alarm => "alarm",
            Per::Device => "device",
            Per::Site => "site",
        };
        let ladder = if rule.ladder { "ladder = \"field\"\n" } else { "" };
        text.push_str(&format!(
            "[[rule]]\nid = \"{id}\"\n{key}when = \"{when}\"\n{clear}on_delay = \"{on}\"\n\
             off_delay = \"{off}\"\nstale_after = \"0s\"\nflapping = {{ enabled = {flaps} }}\nlatch = {latch}\nsafety = {safety}\nseverity = \"{severity}\"\n\
             title = {{ zh = \"{word} {id}\", en = \"{id}\" }}\n\
             [rule.ticket]\nper = \"{per}\"\nupstream = \"{upstream}\"\nreopen_within = \"{reopen}\"\n{ladder}",
            id = rule.id,
            on = rule.on_delay,
            off = rule.off_delay,
            latch = rule.latch,
            safety = rule.safety,
            flaps = rule.flaps,
            severity = rule.severity,
            upstream = rule.upstream,
            reopen = rule.reopen_within,
        ));
    }
    text
}
