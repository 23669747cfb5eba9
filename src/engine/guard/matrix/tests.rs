//! The matrix of severity and rung.

use super::{Course, Verdict, decide};
use crate::engine::guard::Admission;
use crate::engine::types::ledger::Rung;
use crate::engine::types::severity::Severity;

const RUNGS: [Rung; 4] = [Rung::Green, Rung::Amber, Rung::Red, Rung::Stop];

fn row(severity: Severity, open: Course) -> [Verdict; 4] {
    RUNGS.map(|rung| decide(severity, false, rung, Admission::Ordinary, open))
}

#[test]
fn each_severity_does_on_each_rung_what_the_matrix_says() {
    use Verdict::*;
    let none = Course::default();
    assert_eq!(row(Severity::Critical, none), [Create, Create, Merge, Create]);
    assert_eq!(row(Severity::Major, none), [Create, Merge, Digest, Hold]);
    assert_eq!(row(Severity::Minor, none), [Create, Digest, Notify, Notify]);
    assert_eq!(row(Severity::Warning, none), [Create, Digest, Notify, Notify]);
    assert_eq!(row(Severity::Info, none), [Create, Notify, Count, Count]);
    let open = Course { same_device: true, digest: true };
    assert_eq!(row(Severity::Critical, open), [Create, Create, Merge, Join]);
    assert_eq!(row(Severity::Major, open), [Create, Merge, DigestJoin, DigestJoin]);
    assert_eq!(row(Severity::Minor, open), [Create, DigestJoin, Notify, Notify]);
}

#[test]
fn without_money_a_critical_fault_takes_the_reserve_and_then_asks() {
    let at =
        |admission| decide(Severity::Critical, false, Rung::Green, admission, Course::default());
    assert_eq!(at(Admission::Reserve), Verdict::Create);
    assert_eq!(at(Admission::Refused), Verdict::Ask);
    assert_eq!(at(Admission::Blind), Verdict::Create);
    let open = Course { same_device: true, digest: false };
    let merged = decide(Severity::Critical, false, Rung::Green, Admission::Reserve, open);
    assert_eq!(merged, Verdict::Join);
}

#[test]
fn a_safety_fault_is_never_held_and_says_when_it_overspends() {
    for severity in Severity::ALL {
        for rung in RUNGS {
            let at = |admission| decide(severity, true, rung, admission, Course::default());
            assert_eq!(at(Admission::Ordinary), Verdict::Create);
            assert_eq!(at(Admission::Reserve), Verdict::CreateOverspent);
            assert_eq!(at(Admission::Refused), Verdict::CreateOverspent);
            assert_eq!(at(Admission::Blind), Verdict::CreateOverspent);
        }
    }
}

#[test]
fn a_ledger_that_cannot_be_read_pays_for_critical_faults_and_no_others() {
    for rung in RUNGS {
        let at = |severity| decide(severity, false, rung, Admission::Blind, Course::default());
        assert_eq!(at(Severity::Critical), Verdict::Create);
        assert_eq!(at(Severity::Major), Verdict::Hold);
        assert_eq!(at(Severity::Minor), Verdict::Notify);
        assert_eq!(at(Severity::Info), Verdict::Count);
    }
}
