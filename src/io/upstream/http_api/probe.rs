//! `faultgate check --online`: who am I, can what is lost be found again, and with `--probe` a
//! ticket that is opened, found and resolved.

use super::HttpApi;
use super::call::{About, Failure};
use super::spec::Op;
use super::template::Names;
use crate::engine::types::alarm::Fingerprint;
use crate::engine::types::job::{Action, Call, Draft, JobKey, Outcome};
use crate::engine::types::severity::Severity;
use crate::engine::types::ticket::TicketId;
use crate::engine::types::time::TimeSpan;
use crate::io::clock;
use crate::io::upstream::http::Attempt;
use crate::io::upstream::why;

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub tried: &'static str,
    /// What came of it, or why nothing did.
    pub came: Result<String, String>,
}

impl HttpApi {
    /// Tries what changes nothing; with `probe` a ticket as well.
    pub async fn probe(&self, probe: bool) -> Vec<Finding> {
        let mut attempt = Attempt::default();
        let mut findings = Vec::new();
        let mut find = |tried, came: Result<String, Outcome>| {
            findings.push(Finding { tried, came: came.map_err(why) });
        };
        if self.api.operations.contains_key(&Op::Whoami) {
            let mut names = Names::new();
            let about = About { reads: true, ..About::default() };
            let told = self.run(Op::Whoami, &mut names, about, false, &mut attempt).await;
            let told = told.map_err(Failure::outcome);
            let me = self.me(&mut attempt).await;
            let said =
                if me.is_empty() { "signed in".to_owned() } else { format!("signed in as {me}") };
            find("whoami", told.map(|_| said));
        }
        let guarded = self.guard(&self.queue(None), About::default(), &mut attempt).await;
        find("canary", guarded.map(|_| "what is lost can be found again".to_owned()));
        if probe {
            let (opened, resolved) = self.probe_ticket(&mut attempt).await;
            find("create", opened);
            if let Some(resolved) = resolved {
                find("resolve", resolved);
            }
        }
        findings
    }

    async fn probe_ticket(
        &self,
        attempt: &mut Attempt,
    ) -> (Result<String, Outcome>, Option<Result<String, Outcome>>) {
        let key = format!("probe{}", clock::now().micros());
        let draft = Draft {
            title: "Faultgate 测试工单 (probe)".to_owned(),
            body: "A test of the connection; it resolves itself.\n连接测试，将自动解决。"
                .to_owned(),
            severity: Severity::Info,
            safety: false,
            queue: None,
            device: "faultgate".to_owned(),
            rule: "probe".to_owned(),
            site: String::new(),
            raised_at: clock::now(),
            plot: None,
        };
        let open = call(&key, 1, None, Action::Open(Box::new(draft)));
        let external = match self.perform(&open, attempt).await {
            Ok(Outcome::Done { external, .. }) => external,
            Ok(other) | Err(other) => return (Err(other), None),
        };
        let age = if self.settle().await { self.search_lag() } else { TimeSpan::ZERO };
        let again = Call { in_doubt: Some(age), attempt: 2, ..open };
        let twice = if self.api.is_exactly_once() {
            match self.perform(&again, attempt).await {
                Ok(Outcome::Done { external: second, .. }) if second == external => {
                    "; asked for twice, it is there once".to_owned()
                }
                Ok(Outcome::Done { external: second, .. }) => {
                    let reason =
                        format!("asked for twice, it is there twice: {external}, {second}");
                    return (Err(Outcome::Rejected { reason }), None);
                }
                Ok(other) | Err(other) => format!("; not found so far: {}", why(other)),
            }
        } else {
            String::new()
        };
        let text = "测试结束 / end of the test".to_owned();
        let resolve = call(&key, 2, Some(&external), Action::Resolve { text });
        let resolved = self.perform(&resolve, attempt).await.map(|_| format!("ticket {external}"));
        (Ok(format!("ticket {external}{twice}")), Some(resolved))
    }
}

fn call(key: &str, number: u32, external: Option<&str>, action: Action) -> Call {
    Call {
        key: JobKey { ticket: TicketId(0), number },
        upstream: String::new(),
        external: external.map(str::to_owned),
        fingerprint: Fingerprint(key.to_owned()),
        idempotency_key: format!("{key}-{number}"),
        attempt: 1,
        requests_max: u32::MAX,
        in_doubt: None,
        severity: Severity::Info,
        action,
    }
}
