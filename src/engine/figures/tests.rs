//! The figures of known histories.

use super::*;
use crate::engine::types::alarm::{Fingerprint, HeldBy};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_772_000_000_000_000) + TimeSpan::from_secs(seconds)
}

/// An alarm of this device, from one second to another.
fn spell(device: &str, from: i64, to: Option<i64>) -> Spell {
    Spell {
        alarm: AlarmId { rule: "hot".to_owned(), device: device.to_owned(), key: Vec::new() },
        fingerprint: Fingerprint(format!("{device}{from}")),
        site: "sh-1".to_owned(),
        severity: Severity::Minor,
        held_by: None,
        raised_at: at(from),
        returned_at: to.map(at),
        is_taken: false,
    }
}

fn of(spells: &[Spell], hours: i64) -> Figures {
    report(spells, &[], at(0), at(hours * 3_600)).all.expect("something is known")
}

#[test]
fn eleven_in_ten_minutes_are_a_flood_until_fewer_than_five_are_left() {
    let mut spells: Vec<Spell> = (0..11).map(|n| spell(&format!("d{n}"), n * 10, None)).collect();
    let figures = of(&spells, 1);
    assert_eq!((figures.raised, figures.worst_10_min), (11, 11));
    // From the eleventh, at 100 s, until the seventh is ten minutes old, at 660 s.
    assert!((figures.flood_percent - 560.0 * 100.0 / 3_600.0).abs() < 1e-9, "{figures:?}");
    assert!((figures.per_10_min - 11.0 / 6.0).abs() < 1e-9, "{figures:?}");
    spells.pop();
    assert!(of(&spells, 1).flood_percent.abs() < 1e-9);
}

#[test]
fn what_chatters_flees_and_stays_is_told_apart() {
    let chatter = [0, 25, 50].map(|from| spell("chatters", from, Some(from + 11)));
    let fleeting =
        [spell("flees", 10, Some(15)), Spell { is_taken: true, ..spell("taken", 10, Some(15)) }];
    let stale =
        [spell("stays", 0, None), spell("new", 90_000, None), spell("over", 0, Some(90_000))];
    let spells: Vec<Spell> = chatter.into_iter().chain(fleeting).chain(stale).collect();
    let figures = of(&spells, 30);
    assert_eq!((figures.chattering, figures.fleeting, figures.stale), (1, 1, 1));
    assert_eq!(
        figures.top_10.first().map(|top| (top.alarm.device.as_str(), top.raised)),
        Some(("chatters", 3))
    );
}

#[test]
fn what_people_were_not_shown_does_not_count() {
    let hidden = [HeldBy::Shelved, HeldBy::Shadow, HeldBy::Maintenance].into_iter().enumerate();
    let hidden = hidden.map(|(n, by)| Spell { held_by: Some(by), ..spell("d", n as i64, None) });
    let joined = Spell { held_by: Some(HeldBy::Storm), ..spell("e", 5, None) };
    let spells: Vec<Spell> = hidden.chain([joined]).collect();
    assert_eq!(of(&spells, 1).raised, 1);
}

#[test]
fn where_nothing_was_kept_the_figures_are_unknown() {
    let report = report(&[], &[], at(0), at(3_600));
    assert_eq!((report.all, report.sites.len()), (None, 0));
}
