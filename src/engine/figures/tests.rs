//! The figures of known histories.

use std::sync::Arc;

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

#[test]
fn rolling_figures_are_those_of_a_report_over_the_same_time() {
    let day = TimeSpan::from_secs(86_400);
    let mut spells: Vec<Spell> =
        (0..40).map(|n| spell(&format!("d{}", n % 7), n * 5_000, Some(n * 5_000 + 8))).collect();
    spells.extend([spell("stays", 1_000, None), spell("new", 190_000, None)]);
    let mut rolling = Rolling::new(day);
    for one in &spells {
        // Each is told when it is raised and when it returns.
        rolling.take(Arc::new(Spell { returned_at: None, ..one.clone() }));
        rolling.take(Arc::new(one.clone()));
    }
    let now = at(200_000);
    let told = rolling.report(now);
    assert_eq!(told, report(&spells, &[], now - day, now));
    assert_eq!(told.all.map(|all| all.stale), Some(1));
    let later = rolling.report(at(2_000_000));
    assert_eq!(later.all.map(|all| (all.raised, all.stale)), Some((0, 2)), "known to be none");
}

#[test]
fn a_target_is_met_by_quiet_days_and_missed_by_a_flood() {
    let met = |figures: &Figures| -> Vec<Option<bool>> {
        Aim::ALL.iter().map(|aim| aim.is_met(figures)).collect()
    };
    assert!(met(&Figures::default()).iter().all(|met| *met != Some(false)));
    let flood: Vec<Spell> = (0..60).map(|n| spell("d", n * 10, Some(n * 10 + 5))).collect();
    let missed = met(&of(&flood, 1)).iter().filter(|met| **met == Some(false)).count();
    assert_eq!(missed, 6, "all but those of age and severity");
}
