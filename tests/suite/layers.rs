//! The house holds: each layer imports only from its left, and the engine touches no world.

use std::path::{Path, PathBuf};

/// From left to right: each imports only what stands before it.
const LAYERS: [&str; 5] = ["engine", "io", "config", "service", "cli"];

/// Stages of the engine that know only `types` and themselves.
const STAGES: [&str; 11] = [
    "decode",
    "register",
    "detect",
    "lifecycle",
    "suppress",
    "merge",
    "guard",
    "escalate",
    "outbox",
    "ticket",
    "rating",
];

/// What the engine may not name: async, clocks, files, sockets, threads, logs, chance, hash order.
const WORLD: [&str; 22] = [
    "tokio",
    "sled",
    "reqwest",
    "rumqttc",
    "rumqttd",
    "axum",
    "tracing",
    "metrics::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::time::Instant",
    "SystemTime",
    "Utc::now",
    "Local::now",
    "HashMap",
    "HashSet",
    " rand::",
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The file without comments and without its unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).expect("a source file");
    let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(&text);
    let lines = body.lines().map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

/// Layers that a text names through `crate::`, alone or in a group.
fn named(text: &str, prefix: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split(prefix).skip(1) {
        let head = match rest.strip_prefix('{') {
            Some(group) => group.split(';').next(),
            None => rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next(),
        };
        let words = head.unwrap_or(rest).split(|c: char| !(c.is_alphanumeric() || c == '_'));
        found.extend(words.filter(|word| names.contains(word)).map(str::to_owned));
    }
    found
}

#[test]
fn every_layer_imports_only_from_its_left() {
    let mut wrong = Vec::new();
    for (position, layer) in LAYERS.iter().enumerate() {
        for path in sources(&root().join(layer)) {
            for used in named(&code(&path), "crate::", &LAYERS) {
                let at = LAYERS.iter().position(|known| *known == used).expect("a known layer");
                if at > position {
                    wrong.push(format!("{} uses crate::{used}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stage_knows_the_types_and_itself_and_no_other_stage() {
    let mut wrong = Vec::new();
    for stage in STAGES {
        for path in sources(&root().join("engine").join(stage)) {
            let text = code(&path);
            let mut used = named(&text, "crate::engine::", &STAGES);
            used.extend(named(&text, "super::super::super::", &STAGES));
            used.retain(|used| used != stage);
            wrong.extend(used.into_iter().map(|used| format!("{} uses {used}", path.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_engine_touches_no_world() {
    let mut wrong = Vec::new();
    for path in sources(&root().join("engine")) {
        let text = code(&path);
        for word in WORLD.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{} names {word}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_store_knows_sled() {
    let mut wrong = Vec::new();
    for path in sources(&root()) {
        let in_store = path.starts_with(root().join("io/store"));
        if !in_store && code(&path).contains("sled::") {
            wrong.push(path);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
