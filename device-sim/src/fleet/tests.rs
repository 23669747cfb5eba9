use std::collections::BTreeMap;

use super::*;

const START_US: i64 = 1_767_225_600_000_000;

fn first(seed: u64, count: usize) -> Vec<Planned> {
    let scenario = Scenario::demo().expect("the demo's scenario is right");
    Fleet::new(&scenario, seed, START_US).take(count).collect()
}

/// One class of one metric, and what else a test wants.
fn fleet(more: &str, seed: u64) -> Fleet {
    let text = format!(
        "[[class]]\nname = \"c\"\ncount = 40\ndevice = \"设备-{{n}}\"\nevery = \"2s\"\n\
         topic = \"t/{{device}}\"\npresence = \"p/{{device}}\"\n\
         [[class.metric]]\nname = \"x\"\nbase = 10.0\n{more}"
    );
    let scenario: Scenario = toml::from_str(&text).expect("a scenario");
    Fleet::new(&scenario, seed, START_US)
}

fn until(fleet: Fleet, seconds: u64) -> Vec<Planned> {
    fleet.take_while(|planned| planned.at < Duration::from_secs(seconds)).collect()
}

/// Time in seconds, and the value, of one device's readings.
fn readings(planned: &[Planned], device: usize) -> Vec<(f64, f64)> {
    let of_device = planned.iter().filter(|planned| planned.device == device);
    let reading = |planned: &Planned| match &planned.action {
        Action::Publish { payload, .. } => {
            let json = serde_json::from_slice::<Value>(payload).ok()?;
            Some((planned.at.as_secs_f64(), json["x"].as_f64()?))
        }
        Action::Connect | Action::Drop => None,
    };
    of_device.filter_map(reading).collect()
}

#[test]
fn the_same_seed_makes_the_same_bytes_and_another_seed_others() {
    assert_eq!(first(1, 5_000), first(1, 5_000));
    assert_ne!(first(1, 5_000), first(2, 5_000));
}

#[test]
fn a_seed_makes_the_bytes_that_it_made_in_earlier_versions() {
    let more = "noise = 0.5\ndaily = 2.0\n[disturbance]\njunk = 0.2\nwrong_clock = 0.5\n";
    let published = fleet(more, 7).filter_map(|planned| match planned.action {
        Action::Publish { payload, .. } => Some(String::from_utf8_lossy(&payload).into_owned()),
        Action::Connect | Action::Drop => None,
    });
    let short = published.filter(|payload| payload.len() < 100);
    let expected = [
        r#"{"ts":1767225600018,"x":11.21}"#,
        r#"{"ts":1767225600076,"x":11.43}"#,
        r#"{"ts":1767225600080,"x":13.13}"#,
    ];
    assert_eq!(short.take(3).collect::<Vec<_>>(), expected);
}

#[test]
fn actions_come_in_the_order_of_time() {
    let planned = first(3, 20_000);
    assert!(planned.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[test]
fn a_fault_shows_from_its_start_over_its_ramp_to_its_end() {
    let fault = "[[fault]]\nclass = \"c\"\nfirst = 2\ndevices = 2\nmetric = \"x\"\ntarget = 110.0\n\
                 start = \"20s\"\nramp = \"20s\"\nend = \"60s\"\nspread = \"10s\"\n";
    let planned = until(fleet(fault, 1), 100);
    for (device, later) in [(1, 0.0), (2, 10.0)] {
        for (at, value) in readings(&planned, device) {
            let expected = match at - later {
                at if !(20.0..60.0).contains(&at) => 10.0,
                at => 10.0 + 100.0 * ((at - 20.0) / 20.0).min(1.0),
            };
            assert!((value - expected).abs() < 0.01, "{device} at {at}: {value}, not {expected}");
        }
    }
    assert!(readings(&planned, 3).iter().all(|(_, value)| *value == 10.0));
}

#[test]
fn a_swinging_fault_stays_within_its_bounds_and_reaches_both() {
    let fault = "[[fault]]\nclass = \"c\"\nmetric = \"x\"\ntarget = 50.0\nstart = \"0s\"\n\
                 wobble = 5.0\nwobble_every = \"30s\"\n";
    let values: Vec<f64> =
        readings(&until(fleet(fault, 1), 300), 0).iter().map(|(_, value)| *value).collect();
    let (low, high) = (
        values.iter().copied().fold(f64::MAX, f64::min),
        values.iter().copied().fold(f64::MIN, f64::max),
    );
    assert!((45.0..45.5).contains(&low) && (54.5..=55.0).contains(&high), "{low} to {high}");
}

#[test]
fn values_follow_the_day_and_scatter_as_much_as_the_scenario_says() {
    let text = "[[class]]\nname = \"c\"\ncount = 1\ndevice = \"d\"\nevery = \"1m\"\n\
                [[class.metric]]\nname = \"x\"\nbase = 10.0\ndaily = 5.0\npeak_hour = 7.0\nnoise = 0.5\n";
    let scenario: Scenario = toml::from_str(text).expect("a scenario");
    let values = readings(&until(Fleet::new(&scenario, 1, START_US), 86_400), 0);
    let mean = |from: f64, to: f64| {
        let hours = values.iter().filter(|(at, _)| (from * 3_600.0..to * 3_600.0).contains(at));
        let (sum, count) = hours.fold((0.0, 0.0), |(sum, count), (_, x)| (sum + x, count + 1.0));
        sum / count
    };
    assert!((mean(6.0, 8.0) - 15.0).abs() < 0.3, "highest at 7");
    assert!((mean(18.0, 20.0) - 5.0).abs() < 0.3, "lowest twelve hours later");
    let near_peak: Vec<f64> =
        values.iter().filter(|(at, _)| (at / 3_600.0 - 7.0).abs() < 0.5).map(|(_, x)| *x).collect();
    let variance =
        near_peak.iter().map(|x| (x - 15.0).powi(2)).sum::<f64>() / near_peak.len() as f64;
    assert!((0.3..0.7).contains(&variance.sqrt()), "{}", variance.sqrt());
}

#[test]
fn a_dead_device_drops_its_connection_and_says_nothing_until_it_is_back() {
    let outage = "[[outage]]\nclass = \"c\"\nfirst = 2\nstart = \"20s\"\nend = \"50s\"\n\
                  [[outage]]\nclass = \"c\"\nfirst = 3\nstart = \"20s\"\n\
                  [disturbance]\nduplicates = 0.5\nout_of_order = 0.5\ndisconnects = 0.3\n";
    let planned = until(fleet(outage, 1), 200);
    let seen = |device: usize, from: u64, to: u64| {
        let span = Duration::from_secs(from)..Duration::from_secs(to);
        let of = planned.iter().filter(|p| p.device == device && span.contains(&p.at));
        of.map(|p| p.action.clone()).collect::<Vec<_>>()
    };
    for device in [1, 2] {
        assert_eq!(seen(device, 20, 50), [Action::Drop], "{device}");
    }
    assert_eq!(seen(1, 50, 51)[0], Action::Connect);
    assert!(seen(1, 51, 200).len() > 10);
    assert_eq!(seen(2, 50, 200), []);
}

#[test]
fn every_disturbance_comes_as_often_as_the_scenario_says() {
    let calm = until(fleet("", 1), 1_000);
    let more = "[disturbance]\nduplicates = 0.1\nout_of_order = 0.1\njunk = 0.1\n";
    let planned = until(fleet(more, 1), 1_000);
    let mut same: BTreeMap<(usize, &[u8]), usize> = BTreeMap::new();
    let (mut late, mut junk, mut newest) = (0, 0, BTreeMap::new());
    for planned in &planned {
        let Action::Publish { payload, .. } = &planned.action else { continue };
        let json = serde_json::from_slice::<Value>(payload).ok();
        let Some(ts) = json.and_then(|json| json["ts"].as_i64()) else {
            junk += 1;
            continue;
        };
        *same.entry((planned.device, payload)).or_default() += 1;
        let newest = newest.entry(planned.device).or_insert(ts);
        late += usize::from(ts < *newest);
        *newest = ts.max(*newest);
    }
    let twice = same.values().filter(|count| **count > 1).count();
    let share = |count: usize| count as f64 / calm.len() as f64;
    for (name, count) in [("duplicates", twice), ("junk", junk)] {
        assert!((0.08..0.12).contains(&share(count)), "{name}: {}", share(count));
    }
    // Three of five late ones come after the next report, which is two seconds later.
    assert!((0.04..0.08).contains(&share(late)), "{}", share(late));
}

#[test]
fn a_lost_connection_comes_back_and_nothing_is_said_meanwhile() {
    let planned = until(fleet("[disturbance]\ndisconnects = 0.05\n", 1), 1_000);
    let mut away: BTreeMap<usize, Duration> = BTreeMap::new();
    let mut drops = 0;
    for planned in &planned {
        match planned.action {
            Action::Drop => {
                drops += 1;
                assert_eq!(away.insert(planned.device, planned.at), None);
            }
            Action::Connect => {
                if let Some(since) = away.remove(&planned.device) {
                    assert_eq!(planned.at - since, AWAY);
                }
            }
            Action::Publish { .. } => assert!(!away.contains_key(&planned.device)),
        }
    }
    assert!((300..1_000).contains(&drops), "{drops}");
}

#[test]
fn a_wrong_clock_is_an_hour_off_at_the_share_of_devices_that_have_one() {
    let planned = until(fleet("[disturbance]\nwrong_clock = 0.25\n", 5), 4);
    let mut off = BTreeMap::new();
    for planned in &planned {
        if let Action::Publish { payload, .. } = &planned.action {
            let json: Value = serde_json::from_slice(payload).expect("JSON");
            let at_ms = START_US / 1_000 + planned.at.as_millis() as i64;
            off.insert(planned.device, json["ts"].as_i64().expect("a time") - at_ms);
        }
    }
    let wrong = off.values().filter(|off| **off == CLOCK_OFF_US / 1_000).count();
    assert_eq!(off.values().filter(|off| **off == 0).count() + wrong, 40);
    assert!((4..17).contains(&wrong), "{wrong}");
}
