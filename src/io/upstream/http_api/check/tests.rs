use crate::engine::types::diagnostic::{Diagnostic, Report, Source};
use crate::engine::types::document::{Place, read_document};
use crate::io::upstream::UpstreamConfig;

fn findings(text: &str) -> Vec<Diagnostic> {
    let source = Source { file: "u.toml".into(), text: text.into() };
    let report = Report::default();
    read_document(Place { source: &source, report: &report }, UpstreamConfig::read);
    report.into_sorted()
}

/// Place, kind and words of every finding.
fn told(text: &str) -> Vec<String> {
    let line = |found: Diagnostic| {
        format!(
            "{}:{} {}: {} ({})",
            found.line, found.column, found.code, found.message, found.hint
        )
    };
    findings(text).into_iter().map(line).collect()
}

const HEAD: &str = "name = \"crm\"\nkind = \"http\"\nurl = \"https://crm.example/api/\"\n";
const ALL: &str =
    "comment = \"none\"\nescalate = \"none\"\nresolve = \"none\"\nreopen = \"none\"\n";

#[test]
fn the_example_of_the_specification_is_read_and_told_what_it_lacks() {
    let text = format!(
        "{HEAD}headers = {{ \"X-Api-Key\" = {{ env = \"CRM_KEY\" }} }}\n{ALL}\
         [create]\nrequest = {{ method = \"POST\", path = \"issues.json\" }}\n\
         body = \"\"\"{{\"issue\": {{\"subject\": {{{{ title | tojson }}}}, \"description\": {{{{ body | tojson }}}}, \"priority_id\": {{{{ priority }}}} }}}}\"\"\"\n\
         id = \"/issue/id\"\nok = [201]\n\
         [find]\nrequest = {{ method = \"GET\", path = \"issues.json?subject=~{{{{ fingerprint | urlencode }}}}\" }}\nid = \"/issues/0/id\"\n\
         [errors]\nfail_if = \"/errcode != 0\"\n"
    );
    let told = told(&text);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("unnamed-key"), "{told:#?}");
}

#[test]
fn a_name_that_is_not_there_is_told_at_its_place_with_what_was_meant() {
    let text = format!(
        "{HEAD}{ALL}[create]\nrequest = {{ path = \"t\" }}\nid = \"/id\"\nbody = '''\n{{ \"s\": {{{{ titel }}}},\n  \"k\": {{{{ vars.kind }}}} }}'''\n[once]\nby = \"key\"\n"
    );
    let told = told(&text);
    let starts =
        |start: &str, word: &str| told.iter().any(|l| l.starts_with(start) && l.contains(word));
    assert!(starts("12:11 unknown-name", "`titel`") && starts("12:11", "title"), "{told:#?}");
    assert!(
        starts("13:11 unknown-name", "`vars.kind`") && starts("13:11", "add `vars"),
        "{told:#?}"
    );
}

#[test]
fn a_body_that_is_no_json_with_real_texts_is_told_before_the_first_ticket() {
    for body in [
        "{ \"s\": \"{{ title | tojson }}\" }",
        "{ \"s\": {{ title }} \"k\": 1 }",
        "{ \"s\": {{ title }",
        "{ \"s\": {{ title | runde }} }",
        "{ \"s\": {{ raised_at | time('%Q') }} }",
    ] {
        let text = format!(
            "{HEAD}{ALL}[once]\nby = \"key\"\n[create]\nrequest = {{ path = \"t\" }}\nid = \"/id\"\nbody = '{}'\n",
            body.replace('\'', "\"")
        );
        let told = told(&text);
        assert_eq!(told.len(), 1, "{body}: {told:#?}");
        assert!(told[0].starts_with("13:") && told[0].contains("template"), "{told:#?}");
    }
}

#[test]
fn what_cannot_be_done_and_what_can_be_doubled_is_said() {
    let text =
        format!("{HEAD}[create]\nrequest = {{ path = \"t\" }}\nbody = '{{}}'\nid = \"own\"\n");
    let told = told(&text).join("\n");
    assert!(told.contains("not exactly once"), "{told}");
    for op in ["comment", "escalate", "resolve", "reopen"] {
        assert!(told.contains(&format!("has no `{op}`")), "{told}");
    }
    let silent = format!(
        "{HEAD}{ALL}[once]\nby = \"key\"\n[create]\nrequest = {{ path = \"t\" }}\nbody = '{{}}'\nid = \"own\"\n"
    );
    assert_eq!(findings(&silent), []);
}

#[test]
fn a_name_that_an_earlier_step_captures_is_there_and_no_other() {
    let steps = |name: &str| {
        format!(
            "{HEAD}{ALL}[once]\nby = \"key\"\n[create]\nid = \"/id\"\n\
             [[create.step]]\nrequest = {{ path = \"begin\" }}\ncapture = {{ token = \"/token\" }}\n\
             [[create.step]]\nrequest = {{ path = \"end/{{{{ got.{name} }}}}\" }}\n"
        )
    };
    assert_eq!(findings(&steps("token")), []);
    let told = told(&steps("tokn")).join("\n");
    assert!(told.contains("`got.tokn`") && told.contains("capture"), "{told}");
}

#[test]
fn operations_that_need_each_other_and_slips_of_the_hand_are_told() {
    for (extra, word) in [
        (
            "[resolve]\nrequest = { path = \"r\" }\nverify = { \"/s\" = \"{{ status }}\" }\n",
            "needs `get`",
        ),
        (
            "[webhook]\nsecret_path = { env = \"S\" }\nticket = \"/id\"\nstatus = \"/s\"\n",
            "needs `get`",
        ),
        (
            "[webhook]\nsecret = \"x\"\nheader = \"X\"\nticket = \"/id\"\nstatus = \"/s\"\n",
            "never stands",
        ),
        ("[errors]\nfail_if = \"/errcode != x\"\n", "no number"),
        ("[auth]\nkind = \"oauth\"\n", "oauth2"),
        ("[status]\nOpen = \"acepted\"\n", "accepted"),
        ("[create.lock]\nversion = \"etag\"\n", "does not say where"),
        ("[attach]\nreqest = { path = \"x\" }\n", "`request`"),
        (
            "[comment]\nrequest = { path = \"c\" }\ncapture = { a = \"/a\" }\nalready = { path = \"c\", items = \"/\", place = \"/t\" }\n",
            "`already` and `capture`",
        ),
        ("[once]\nby = \"search\"\n", "needs `find`"),
    ] {
        let text = format!("{HEAD}[create]\nrequest = {{ path = \"t\" }}\nid = \"/id\"\n{extra}");
        let told = told(&text).join("\n");
        assert!(told.contains(word), "{extra}: {told}");
    }
}

#[test]
fn a_file_that_may_not_be_there_is_told_and_what_was_not_captured_is_none() {
    let text = |when: &str| {
        format!(
            "{HEAD}{ALL}[once]\nby = \"key\"\n[create]\nid = \"/id\"\n\
             [[create.step]]\n{when}optional = true\nrequest = {{ path = \"up\" }}\nfile = true\ncapture = {{ token = \"/t\" }}\n\
             [[create.step]]\nrequest = {{ path = \"t\" }}\nbody = '{{ \"f\": {{{{ got.token }}}} }}'\n"
        )
    };
    assert_eq!(told(&text("when = \"plot\"\n")), [""; 0]);
    let told = told(&text(""));
    assert!(told.len() == 1 && told[0].contains("when = \"plot\""), "{told:#?}");
}
