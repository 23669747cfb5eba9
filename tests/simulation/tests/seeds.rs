//! A fixed number of seeds keeps every promise; more of them with `simulate`.

// In a test, what cannot go on is a failure; clippy exempts only the functions marked #[test].
#![allow(clippy::unwrap_used, clippy::expect_used)]

use faultgate::engine::types::time::TimeSpan;
use faultgate_simulation::hunt::{hunt, run};
use faultgate_simulation::plan::Plan;
use faultgate_simulation::story::Story;

#[test]
fn every_promise_is_kept_on_a_day_of_troubles() {
    let found = hunt(0, 40, 1, 2, 1);
    assert_eq!(found.failed, [], "the story of one: faultgate-simulation simulate --seed N");
    assert!(found.total.crashes > 40 && found.total.tickets > 1_000, "{found:?}");
}

#[test]
fn tickets_that_are_over_go_after_an_hour_and_every_promise_is_kept() {
    // Those that may be reopened stay for another day, as devices may send what they kept.
    let mut gone = 0;
    for seed in 0..10 {
        let closed_max = Some(TimeSpan::from_secs(3_600));
        let plan = Plan { closed_max, ..Plan::of(seed, 2) };
        let ended = run(plan, Story::default());
        gone += ended.unwrap_or_else(|why| panic!("seed {seed}: {why}")).gone;
    }
    assert!(gone > 100, "only {gone} went");
}

#[test]
fn a_seed_plays_the_same_story_again() {
    let story = |seed| {
        let story = Story::kept();
        run(Plan::of(seed, 1), story.clone()).expect("it keeps every promise");
        story.text()
    };
    assert!(story(7) == story(7), "something does not follow from the seed");
    assert!(story(7) != story(8));
}
