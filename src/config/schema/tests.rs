//! The schemas against the reader, both ways, and against every file and example there is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::{File, schema};
use crate::engine::policy;
use crate::engine::rating;
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::engine::types::text::Language;

/// Every section and every kind of value; whether they fit each other does not matter here.
const RULES: &str = r#"
schema = 1
unknown_devices = "quarantine"
[defaults]
flapping = { low = 10 }
match = { class = "a", labels = { line = "1" } }
params = { high = 1 }
title = { zh = "标题", en = "title" }
advice = { zh = "建议" }
ticket = { per = "device" }
[[rule]]
id = "a"
match = { device = "*" }
when = "t > params.high"
title = { en = "a" }
advice = { zh = "甲" }
params = { high = 2.5 }
flapping = { enabled = false }
[rule.ticket]
upstream = "desk"
[[ladder]]
id = "l"
step = [{ after = "1m", ticket = { comment = true }, repeat = { every = "1m", times = 2 } }]
[[codes]]
table = "t"
source = "manual"
entries = [{ code = 1, class = "elec.overcurrent", title = { zh = "过流" }, advice = { en = "x" } }]
[[inhibit]]
source = { rule = "a" }
target = { severity = ["major"], class = "*" }
equal = ["site"]
[[maintenance]]
match = { site = "s" }
schedule = { cron = "0 2 * * SUN", duration = "4h", timezone = "Asia/Shanghai" }
reason = { zh = "保养" }
[[maintenance]]
schedule = { from = 2026-01-01T00:00:00Z, to = 2026-01-02T00:00:00Z }
[[device]]
id = "冷柜-1"
installed_at = 2026-01-31
labels = { line = "1" }
params = { high = 3, a = { high = 4 } }
[[class]]
id = "freezer"
params = { high = 5 }
[[budget]]
id = "all"
scope = { gateway = "sh-*", site = "s*" }
amount = "3000.00"
thresholds = { amber = 60 }
[quantities]
seats = "12"
[[test]]
name = "x"
device = { id = "d", labels = { line = "1" } }
samples = [{ at = "0s", t = 1, on = true, text = "a" }]
expect = [{ at = "0s", rule = "a", event = "raised" }]
"#;

const GATEWAY: &str = r#"
[gateway]
language = "zh-CN"
[broker]
max_payload = "1MiB"
[[source]]
name = "json"
url = "mqtts://broker:8883"
topics = ["a/#"]
topic = ["a/{device}"]
password = { env = "P" }
max_skew = { back = "1h", ahead = "1m" }
presence = [{ topic = "a/{device}/p", path = "/s", online = "on", offline = ["off", "gone"] }]
[source.json]
timestamp = { path = "/ts", unit = "local", zone = "Asia/Shanghai" }
quality = { path = "/q", good = [192, "good"] }
[source.json.metrics]
temp_c = "/t"
both = ["/a", "/b"]
scaled = { path = "/v", scale = 2.0, offset = 1, unit = "V", absent = 0 }
counted = { count = "/e", where = { path = "/l", is = ["x"] } }
[[source]]
name = "csv"
url = "embedded"
topics = ["b"]
topic = "b/{device}"
decoder = "csv"
[source.csv]
timestamp = { column = "ts", unit = "s", zone = "Asia/Shanghai" }
[[source]]
name = "recorded"
url = "embedded"
topics = ["c"]
topic = "c/{device}"
csv = { timestamp = "ts", device_id = "d" }
[[source]]
name = "senml"
url = "embedded"
topics = ["d"]
topic = "d/{device}"
decoder = "senml"
senml = { device = "topic" }
[[source]]
name = "spb"
url = "embedded"
decoder = "sparkplug-b"
sparkplug = { host_id = "h", rebirth = false, reorder_timeout = "5s" }
[http]
hosts = ["a.example"]
url = "https://a.example/gw"
[desk]
token = { file = "t" }
[[upstream]]
name = "rt"
kind = "request-tracker"
url = "https://rt.example/"
token = { credential = "t" }
severity = { critical = 100 }
rate = { per_second = 1.5, burst = 3 }
poll = "30s"
plots = false
[[upstream]]
name = "crm"
kind = "http"
url = "https://crm.example/"
timezone = "Asia/Shanghai"
headers = { A = "b", C = { env = "C" } }
vars = { a = 1 }
secrets = { s = { env = "S" } }
status = { open = "accepted" }
unknown_status = "working"
set_status = { resolved = 5 }
queues = { a = 7 }
people = { li = "li@x" }
errors = { fail_if = "/errcode != 0", message = ["/errmsg"], rule = [{ status = [403], if = "/a", operations = ["create"], class = "retry", wait = "5s", hint = "x" }] }
limits = { title = { chars = 9 }, body = { bytes = 9 }, comment = { bytes = 9 }, operations = { create = { per_second = 1, burst = 1 } }, critical_share = 0.2, penalty = "5s", timeout = "9s" }
once = { by = "search", duplicate_id = { place = "/x", pattern = "a" } }
auth = { kind = "login", login = { request = { path = "login" }, body = "{}" }, token = { header = "X" }, carrier = "query", name = "sid" }
sign = { algorithm = "hmac-sha256", over = "{{ body }}", headers = { A = "{{ sign }}" }, query = { a = "b" }, body = { "/a" = "b" } }
webhook = { secret = { env = "W" }, header = "X", ticket = { header = "T" }, status = { place = "/s" }, by = { place = "/b" }, challenge = { place = "/c" } }
[upstream.create]
request = { path = "x" }
body = "{}"
id = { header = "Location", pattern = "([0-9]+)$" }
[upstream.attach]
request = { path = "x" }
multipart = [{ name = "a", value = "b" }, { name = "f", filename = "g", type = "h", file = true }]
[limits]
max_devices = 5
max_backlog = 500
[storm]
by = "region"
[store]
engine = "sled"
retention = { closed_episodes = "400d", telemetry = "30d" }
max_disk = "2GiB"
"#;

const PLAN: &str = r#"
[plan]
id = "p"
currency = "CNY"
period = { timezone = "Asia/Shanghai" }
close = { cron = "5 0 1 * *", grace = "1d" }
term = { exit_fee = "10" }
[[meter]]
id = "m"
agg = "max"
[[line]]
id = "a"
kind = "per_unit"
[[line]]
id = "b"
kind = "package"
[[line]]
id = "c"
kind = "graduated"
tiers = [{ unit = "1" }]
[[adjust]]
id = "d"
kind = "percent"
classes = ["usage"]
percent = "-5"
[[adjust]]
id = "e"
kind = "cap"
classes = ["usage"]
amount = "5"
[[addon]]
id = "f"
kind = "extra"
[[one_off]]
id = "g"
bucket = "labour"
"#;

/// Every key of a step; what excludes each other does not matter here.
const STEP: &str = r#"
request = { method = "PUT", path = "x", query = { a = "b" }, headers = { A = "b" } }
body = "{}"
multipart = [{ name = "f", filename = "x", type = "text/plain", value = "y" }]
already = { path = "x", query = { a = "b" }, items = "/i", place = "/p" }
capture = { a = { header = "A" } }
lock = { version = { header = "etag" } }
"#;

const OPERATIONS: [&str; 13] = [
    "create", "find", "comment", "escalate", "resolve", "reopen", "attach", "get", "ready",
    "rekey", "whoami", "twin", "changes",
];

/// Upstreams with every operation, once with a step of its own and once with several, and every
/// form of authorisation and of webhook.
fn upstreams() -> String {
    let value = "{ header = \"h\", pattern = \"p\" }";
    let mut text = String::new();
    let auths = [
        "auth = { kind = \"header\", secret = { env = \"S\" } }\nwebhook = { secret_path = { env = \"S\" }, ticket = \"/t\" }",
        "auth = { kind = \"basic\", user = \"u\", password = { env = \"S\" } }\nwebhook = { token = { env = \"S\" }, ticket = \"/t\" }",
        "auth = { kind = \"oauth2\", token_url = \"t\", client_id = \"c\", client_secret = { env = \"S\" }, fields = { scope = \"a\" } }",
        "auth = { kind = \"query\", name = \"k\", secret = { env = \"S\" } }",
    ];
    for (index, auth) in auths.iter().enumerate() {
        text.push_str(&format!("[[upstream]]\nname = \"u{index}\"\nkind = \"http\"\n{auth}\n"));
        for op in OPERATIONS {
            let rate = "{ per_second = 1, burst = 1 }";
            text.push_str(&format!("limits.operations.{op} = {rate}\n"));
        }
        for op in OPERATIONS {
            text.push_str(&format!(
                "[upstream.{op}]\nid = {value}\nverify = {{ \"/a\" = \"b\" }}\n"
            ));
            if ["find", "twin", "changes"].contains(&op) {
                text.push_str(&format!("paging = {{ style = \"link\", next = {value} }}\n"));
            }
            if ["find", "twin"].contains(&op) {
                text.push_str(&format!("key = {value}\n"));
            }
            if op == "changes" {
                for key in ["updated", "distinct", "cursor", "status", "by"] {
                    text.push_str(&format!("{key} = {value}\n"));
                }
            }
            if index % 2 == 1 {
                text.push_str(&format!("[[upstream.{op}.step]]"));
            }
            text.push_str(STEP);
        }
        if index == 3 {
            text.push_str(
                "[[upstream]]\nname = \"l\"\nkind = \"http\"\n[upstream.auth]\nkind = \"login\"\n",
            );
            text.push_str(&format!("token = {value}\n[upstream.auth.login]{STEP}"));
        }
    }
    text
}

/// Table and key.
type Keys = BTreeSet<(String, String)>;

/// What the reader asks each table for; tables whose keys the operator chooses; keys refused by
/// name.
#[derive(Default)]
struct Reader {
    asked: Keys,
    open: BTreeSet<String>,
    refused: Keys,
}

fn read(file: File, text: &str) -> Report {
    let report = Report::default();
    let source = Source { file: "x.toml".into(), text: text.into() };
    let place = Place { source: &source, report: &report };
    match file {
        File::Rules => drop(policy::compile(&[source], &["desk"], &report)),
        File::Gateway => drop(read_document(place, super::super::read)),
        File::Plan => drop(read_document(place, rating::read_plan)),
    }
    report
}

fn reader(file: File, text: &str, schema: &Json) -> Reader {
    let mut reader = Reader::default();
    for asked in read(file, text).asked.take() {
        let table = general(&asked.table, schema);
        let pair = |key: &&str| (table.clone(), (*key).to_owned());
        reader.asked.extend(asked.keys.iter().map(pair));
        reader.refused.extend(asked.refused.iter().map(pair));
        if asked.open {
            reader.open.insert(table);
        }
    }
    reader
}

/// The dotted name of a table with `*` for what the operator chose.
fn general(table: &str, schema: &Json) -> String {
    let (mut places, mut name) = (vec![schema], Vec::new());
    for part in table.split('.').filter(|part| !part.is_empty()) {
        let objects: Vec<&Json> = places.iter().flat_map(|place| objects(place)).collect();
        let named: Vec<&Json> =
            objects.iter().filter_map(|object| object["properties"].get(part)).collect();
        if named.is_empty() {
            name.push("*");
            places = objects.iter().map(|object| &object["additionalProperties"]).collect();
        } else {
            name.push(part);
            places = named;
        }
    }
    name.join(".")
}

/// The tables that a schema describes: itself, its members, its alternatives.
fn objects(schema: &Json) -> Vec<&Json> {
    if schema["type"] == "object" {
        return vec![schema];
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let mut found: Vec<&Json> = alternatives.flat_map(objects).collect();
    if let Some(items) = schema.get("items") {
        found.extend(objects(items));
    }
    found
}

/// Every key of every table of a schema.
fn keys(schema: &Json, table: &str, found: &mut Keys) {
    for object in objects(schema) {
        for (key, value) in object["properties"].as_object().into_iter().flatten() {
            found.insert((table.to_owned(), key.clone()));
            keys(value, &join(table, key), found);
        }
        keys(&object["additionalProperties"], &join(table, "*"), found);
    }
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

#[test]
fn a_schema_has_exactly_the_keys_that_the_reader_asks_for() {
    let gateway = format!("{GATEWAY}{}", upstreams());
    for (file, text) in [(File::Rules, RULES), (File::Gateway, &gateway), (File::Plan, PLAN)] {
        let schema = schema(file, Language::English);
        let reader = reader(file, text, &schema);
        let mut described = Keys::new();
        keys(&schema, "", &mut described);
        let missing: Vec<_> = reader
            .asked
            .difference(&described)
            .filter(|key| !reader.refused.contains(*key))
            .collect();
        assert!(missing.is_empty(), "{file:?}: not in the schema: {missing:?}");
        let unknown: Vec<_> = described
            .difference(&reader.asked)
            .filter(|(table, _)| !reader.open.contains(table))
            .collect();
        assert!(unknown.is_empty(), "{file:?}: the reader does not know: {unknown:?}");
    }
}

#[test]
fn every_key_is_described_in_both_languages_and_either_may_come_first() {
    fn check(schema: &Json, [first, other]: [&str; 2]) {
        for object in objects(schema) {
            for (key, value) in object["properties"].as_object().into_iter().flatten() {
                if object["type"] == "object" && value.get(other).is_some() {
                    let told = |name| value[name].as_str().is_some_and(|text| !text.is_empty());
                    assert!(told(first) && told(other), "{key}: {value}");
                }
                check(value, [first, other]);
            }
        }
    }
    for file in [File::Rules, File::Gateway, File::Plan] {
        check(&schema(file, Language::English), ["description", "x-description-zh"]);
        check(&schema(file, Language::Chinese), ["description", "x-description-en"]);
    }
    let zh = schema(File::Rules, Language::Chinese);
    assert_eq!(zh["properties"]["rule"]["description"], "故障规则");
}

fn judge(file: File) -> jsonschema::Validator {
    let schema = schema(file, Language::English);
    assert!(jsonschema::meta::is_valid(&schema), "{file:?} is no schema");
    jsonschema::validator_for(&schema).expect("a schema")
}

fn as_json(text: &str) -> Json {
    fn plain(value: toml::Value) -> Json {
        match value {
            toml::Value::String(text) => text.into(),
            toml::Value::Integer(number) => number.into(),
            toml::Value::Float(number) => number.into(),
            toml::Value::Boolean(flag) => flag.into(),
            toml::Value::Datetime(at) => at.to_string().into(),
            toml::Value::Array(items) => items.into_iter().map(plain).collect(),
            toml::Value::Table(table) => {
                table.into_iter().map(|(key, value)| (key, plain(value))).collect()
            }
        }
    }
    plain(toml::Value::Table(toml::from_str(text).expect("TOML")))
}

fn complaints(file: File, text: &str) -> Vec<String> {
    let json = as_json(text);
    let judge = judge(file);
    judge.iter_errors(&json).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn toml_below(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    super::super::files::read_all(&[root])
        .expect("readable")
        .into_iter()
        .map(|source| source.file.into())
        .collect()
}

#[test]
fn every_rule_file_every_plan_and_every_example_in_the_docs_is_valid() {
    assert_eq!(complaints(File::Rules, RULES), [""; 0]);
    assert_eq!(complaints(File::Gateway, GATEWAY), [""; 0]);
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("readable");
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for path in toml_below("rules") {
        assert_eq!(complaints(File::Rules, &text(&path)), [""; 0], "{}", path.display());
        *counts.entry("rules").or_default() += 1;
    }
    for path in toml_below("docs/examples/plans").into_iter().chain(toml_below("tests/billing")) {
        assert_eq!(complaints(File::Plan, &text(&path)), [""; 0], "{}", path.display());
        *counts.entry("plans").or_default() += 1;
    }
    for path in toml_below("docs/upstreams") {
        assert_eq!(complaints(File::Gateway, &text(&path)), [""; 0], "{}", path.display());
    }
    for (page, block) in toml_blocks() {
        let has = |heads: &[&str]| heads.iter().any(|head| block.contains(head));
        let file = if has(&["[gateway]", "[[source]]", "[[upstream]]", "[broker]", "[limits]"]) {
            File::Gateway
        } else if has(&["[plan]"]) {
            File::Plan
        } else if has(&["[[rule]]", "[[codes]]", "[[inhibit]]", "[[device]]", "[[maintenance]]"]) {
            File::Rules
        } else {
            continue;
        };
        assert_eq!(complaints(file, &block), [""; 0], "{page}:\n{block}");
        *counts.entry("docs").or_default() += 1;
    }
    assert!(counts["rules"] >= 7 && counts["plans"] >= 10 && counts["docs"] >= 3, "{counts:?}");
}

/// The TOML in the pages, without what is left out with `...`.
fn toml_blocks() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = std::fs::read_dir(root.join("docs")).expect("readable");
    let pages = pages.map(|entry| entry.expect("an entry").path());
    let mut blocks = Vec::new();
    for page in pages.chain([root.join("README.md")]) {
        if page.extension().is_none_or(|kind| kind != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&page).expect("readable");
        for block in text.split("```toml\n").skip(1) {
            let block = block.split("```").next().unwrap_or_default();
            // The editor's own file calls its sections rules too.
            if !block.contains("...") && !block.contains("[rule.schema]") {
                blocks.push((page.display().to_string(), block.to_owned()));
            }
        }
    }
    blocks
}

#[test]
fn what_check_refuses_an_editor_underlines() {
    for (file, text, place) in [
        (File::Rules, "[[rule]]\nid = \"a\"\nwhen = \"t > 1\"\non_dealy = \"5s\"", "/rule/0"),
        (File::Rules, "[[rule]]\nid = \"a\"\non_delay = \"30 sec\"", "/rule/0/on_delay"),
        (File::Rules, "[[rule]]\nid = \"Pump Hot\"", "/rule/0/id"),
        (File::Rules, "[[rule]]\nid = \"a\"\nseverity = \"critcal\"", "/rule/0/severity"),
        (File::Rules, "[[rule]]\nid = \"a\"\nmatch = { clas = \"x\" }", "/rule/0/match"),
        (File::Rules, "[[rule]]\nwhen = \"t > 1\"", "/rule/0"),
        (File::Gateway, "[broker]\nmax_payload = \"1 MB\"", "/broker/max_payload"),
        (File::Gateway, "[[upstream]]\nname = \"u\"\nkind = \"otrs\"", "/upstream/0/kind"),
        (
            File::Plan,
            "[plan]\nid = \"p\"\ncurrency = \"CNY\"\n[[one_off]]\nid = \"a\"\nbucket = \"labour\"\namount = 5",
            "/one_off/0/amount",
        ),
    ] {
        assert!(read(file, text).has_errors(), "{text}");
        let told = complaints(file, text);
        assert!(told.iter().any(|line| line.starts_with(&format!("{place}:"))), "{text}: {told:?}");
    }
    assert_eq!(schema(File::Plan, Language::English)["$id"], json!("urn:faultgate:schema:plan"));
}
