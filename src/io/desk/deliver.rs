//! Telling webhooks: in order, signed, tried again with a growing wait, and given up in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use ring::hmac;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Desk;
use super::hook::Hook;
use crate::io::clock;

/// Wait after the first failure; it doubles with each.
const WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Attempts at one event: about an hour and a half, then it is given up.
const ATTEMPTS_MAX: u32 = 25;

/// Tells the webhooks until `stop` says so. What is not told by then is told after the next start.
pub(super) async fn run(desk: Desk, client: reqwest::Client, mut stop: watch::Receiver<bool>) {
    let mut news = desk.news.subscribe();
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    loop {
        let hooks = desk.book.hooks().await;
        running.retain(|id, task: &mut tokio::task::AbortHandle| {
            let there = hooks.iter().any(|hook| hook.id == *id);
            if !there {
                task.abort();
            }
            there
        });
        for hook in hooks {
            running
                .entry(hook.id)
                .or_insert_with(|| tasks.spawn(tell(desk.clone(), client.clone(), hook)));
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = news.changed() => {}
        }
    }
}

/// Tells one webhook what happens, until it is removed.
async fn tell(desk: Desk, client: reqwest::Client, hook: Hook) {
    let mut news = desk.news.subscribe();
    let mut attempts = 0;
    loop {
        match desk.book.next_event(hook.id).await {
            Ok(Some((event, body))) => {
                let Err(reason) = send(&client, &hook, event, body).await else {
                    attempts = 0;
                    done(&desk, hook.id, event).await;
                    continue;
                };
                attempts += 1;
                tracing::warn!(hook = hook.id, event, attempts, reason, "A webhook was not told.");
                if attempts >= ATTEMPTS_MAX {
                    tracing::error!(hook = hook.id, event, "An event was given up.");
                    attempts = 0;
                    done(&desk, hook.id, event).await;
                    continue;
                }
                tokio::time::sleep(wait(attempts)).await;
            }
            Ok(None) => {
                if news.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(hook = hook.id, %error, "An event cannot be read.");
                tokio::time::sleep(WAIT_MAX).await;
            }
        }
    }
}

/// Forgets an event. One that stays is told twice, under the same id.
async fn done(desk: &Desk, hook: u64, event: u64) {
    if let Err(error) = desk.book.event_done(hook, event).await {
        tracing::warn!(hook, event, %error, "An event that was told cannot be removed.");
        tokio::time::sleep(WAIT_MIN).await;
    }
}

async fn send(
    client: &reqwest::Client,
    hook: &Hook,
    event: u64,
    body: Vec<u8>,
) -> Result<(), String> {
    let at = clock::now().micros() / 1_000_000;
    let request = client
        .post(&hook.url)
        .header("content-type", "application/json")
        .header("x-faultgate-delivery", format!("{}-{event}", hook.id))
        .header("x-faultgate-timestamp", at.to_string())
        .header("x-faultgate-signature", signature(&hook.secret, at, &body));
    match request.body(body).send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(answer.status().to_string()),
        // The address may hold a secret of its own.
        Err(error) => Err(error.without_url().to_string()),
    }
}

/// HMAC-SHA256 with the webhook's secret over the time, a full stop and the body.
fn signature(secret: &str, at: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    context.update(format!("{at}.").as_bytes());
    context.update(body);
    let hex = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256={hex}")
}

fn wait(attempts: u32) -> Duration {
    WAIT_MIN.saturating_mul(1 << (attempts - 1).min(20)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_signed_as_any_hmac_tool_signs_it() {
        // printf '1700000000.{"冷":1}' | openssl dgst -sha256 -hmac secret-of-16-byte
        let expected = "sha256=ee661c989fce26c69e27349c5551d9302c82dca898be40e36cd28668931307b1";
        let body = "{\"冷\":1}".as_bytes();
        assert_eq!(signature("secret-of-16-byte", 1_700_000_000, body), expected);
    }

    #[test]
    fn the_wait_doubles_up_to_five_minutes() {
        let waits = [1, 2, 3, 9, 10, 25].map(|attempts| wait(attempts).as_secs());
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }
}
