//! Asking the gateway: the running one by its API, else the store of the one that is stopped.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::Globals;
use crate::config::{self, Config};
use crate::engine::types::question::Question;
use crate::io::{clock, upstream};
use crate::service::{self, view};

/// Asks; a gateway that does not run is read from its store.
pub fn ask(globals: &Globals, path: &str, question: &Question) -> anyhow::Result<Json> {
    let mut config = config::require(globals.config.as_deref())?;
    if let Some(data) = &globals.data {
        config.gateway.data.clone_from(data);
    }
    let runtime = runtime()?;
    match runtime.block_on(get(&config, path))? {
        Some(answer) => Ok(answer),
        None => read_store(&config, question),
    }
}

/// Has the running gateway do something.
pub fn act(globals: &Globals, path: &str, body: &Json) -> anyhow::Result<Json> {
    let config = config::require(globals.config.as_deref())?;
    runtime()?.block_on(async {
        let url = format!("http://{}{path}", config.listen);
        let response =
            upstream::plain_client()?.post(&url).json(body).send().await.with_context(|| {
                format!("no gateway answers at {}; start it first", config.listen)
            })?;
        let status = response.status();
        let answer: Json = response.json().await.unwrap_or(Json::Null);
        if !status.is_success() {
            bail!("{}", answer["error"].as_str().unwrap_or("the gateway refused"));
        }
        Ok(answer)
    })
}

/// Posts nothing to the running gateway; its answer, whatever it says, or `None` when none runs.
pub fn try_post(config: &Config, path: &str) -> anyhow::Result<Option<Json>> {
    runtime()?.block_on(async {
        let url = format!("http://{}{path}", config.listen);
        let sent = upstream::plain_client()?.post(&url).send().await;
        json_of(sent, "the gateway answered something else than JSON").await
    })
}

/// True when the gateway of this configuration answers.
pub fn is_running(config: &Config) -> anyhow::Result<bool> {
    runtime()?.block_on(async { Ok(get(config, "/healthz").await?.is_some()) })
}

/// What the running gateway says of its parts, ready or not; `None` when none runs.
pub fn readiness(config: &Config) -> anyhow::Result<Option<Json>> {
    runtime()?.block_on(async {
        let url = format!("http://{}/readyz", config.listen);
        let sent = upstream::plain_client()?.get(&url).send().await;
        json_of(sent, "something else than a gateway answers").await
    })
}

/// What a gateway answered, whatever its code; `None` when none runs.
async fn json_of(
    sent: reqwest::Result<reqwest::Response>,
    no_json: &'static str,
) -> anyhow::Result<Option<Json>> {
    match sent {
        Ok(answer) => Ok(Some(answer.json().await.context(no_json)?)),
        Err(error) if error.is_connect() => Ok(None),
        Err(error) => Err(error).context("the gateway does not answer"),
    }
}

/// The bytes that the running gateway answers with.
pub fn get_bytes(config: &Config, path: &str) -> anyhow::Result<Vec<u8>> {
    runtime()?.block_on(async {
        let url = format!("http://{}{path}", config.listen);
        let answer = upstream::plain_client()?.get(&url).send().await;
        let answer = answer.context("the gateway does not answer")?;
        let answer = answer.error_for_status().context("the gateway refused")?;
        Ok(answer.bytes().await.context("the answer broke off")?.to_vec())
    })
}

/// The list of this name in an answer of the running gateway.
pub fn get_list<T: DeserializeOwned>(
    config: &Config,
    path: &str,
    name: &str,
) -> anyhow::Result<Vec<T>> {
    let mut page: Json = serde_json::from_slice(&get_bytes(config, path)?)?;
    Ok(serde_json::from_value(page[name].take())?)
}

/// How long a download may take; one that stands still ends sooner.
const DOWNLOAD_WITHIN: Duration = Duration::from_secs(6 * 3_600);

/// Writes what the running gateway answers with to `out`.
pub fn download(config: &Config, path: &str, out: &mut dyn Write) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let url = format!("http://{}{path}", config.listen);
        let answer = upstream::plain_client()?.get(&url).timeout(DOWNLOAD_WITHIN).send().await;
        let answer = answer.context("the gateway does not answer")?;
        let mut answer = answer.error_for_status().context("the gateway refused")?;
        while let Some(piece) = answer.chunk().await.context("the answer broke off")? {
            out.write_all(&piece).context("the answer cannot be kept")?;
        }
        Ok(())
    })
}

/// Who is asking, for the record: `$SUDO_USER`, `$USER`, else `cli`.
pub fn who() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    name.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cli".to_owned())
}

/// The body of an act on behalf of the caller.
pub fn signed(reason: &str) -> Json {
    json!({ "by": who(), "via": "cli", "reason": reason })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")
}

/// `None` when nothing listens there.
async fn get(config: &Config, path: &str) -> anyhow::Result<Option<Json>> {
    let url = format!("http://{}{path}", config.listen);
    let response = match upstream::plain_client()?.get(&url).send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return Ok(None),
        Err(error) => return Err(error).context("the gateway does not answer"),
    };
    if response.status() == reqwest::StatusCode::NOT_FOUND {
        return Ok(Some(Json::Null));
    }
    let response = response.error_for_status().context("the gateway refused")?;
    Ok(Some(response.json().await.context("the gateway answered something else than JSON")?))
}

fn read_store(config: &Config, question: &Question) -> anyhow::Result<Json> {
    let folder = config.gateway.data.join("gateway");
    if !folder.exists() {
        bail!(
            "no gateway answers at {} and there is no store at {}; start it with `faultgate run`",
            config.listen,
            folder.display()
        );
    }
    let policy = super::backtest::read_policy(config, &config.gateway.rules)?;
    let (engine, journal) = service::restore_stopped(config, policy)?;
    let health = view::Health::stopped();
    let sight = view::Sight { engine: &engine, journal: &journal, health: &health };
    Ok(view::answer(clock::now(), question, &sight))
}
