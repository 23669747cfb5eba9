//! HTTP: the API, health, metrics, the console and the desk, on one listener.
//!
//! The handlers decide nothing: they turn a request into a [`Question`], and the answer of the
//! gateway's loop into JSON.

mod api;
pub mod backup;
pub mod books;
pub mod console;
mod hosts;
mod reload;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value as Json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tower_http::limit::RequestBodyLimitLayer;

use crate::engine::types::question::Question;

use hosts::Hosts;

pub use reload::{Reloader, Waiting};

/// Questions that may wait for the loop.
pub const QUESTIONS_MAX: usize = 256;
/// Largest body of a request to the API, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Ask {
    /// What is asked.
    pub question: Question,
    reply: oneshot::Sender<Json>,
}

impl Ask {
    /// Gives the answer; whoever asked may have gone.
    pub fn answer(self, answer: Json) {
        drop(self.reply.send(answer));
    }
}

/// Asks the gateway's loop.
#[derive(Clone, Debug)]
pub struct Asker {
    questions: mpsc::Sender<Ask>,
    standstill: Standstill,
}

/// Why the loop stands still, while it does: a question would wait for it in vain.
#[derive(Clone, Debug, Default)]
pub struct Standstill {
    why: Arc<Mutex<Option<String>>>,
}

impl Standstill {
    /// It stands still from now on.
    pub fn begin(&self, why: String) {
        *self.lock() = Some(why);
    }

    /// It goes on.
    pub fn end(&self) {
        *self.lock() = None;
    }

    fn why(&self) -> Option<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too much is asked, or nobody is there any more.
    #[error("the gateway is too busy or is stopping; try again")]
    Busy,
    /// The store cannot be written.
    #[error("the gateway takes nothing in and does nothing: {0}")]
    Standstill(String),
}

impl Asker {
    /// An asker, and the loop's end of it.
    pub fn new() -> (Asker, mpsc::Receiver<Ask>) {
        let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
        (Asker { questions, standstill: Standstill::default() }, asked)
    }

    /// Through which the loop says that it stands still.
    pub fn standstill(&self) -> Standstill {
        self.standstill.clone()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When the loop stands still, e.g. while the disk is full: then nothing is left to be done
    /// later either. And when it does not answer in time.
    pub async fn ask(&self, question: Question) -> Result<Json, NoAnswer> {
        if let Some(why) = self.standstill.why() {
            return Err(NoAnswer::Standstill(why));
        }
        let (reply, answer) = oneshot::channel();
        self.questions.try_send(Ask { question, reply }).map_err(|_| NoAnswer::Busy)?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => {
                Err(self.standstill.why().map_or(NoAnswer::Busy, NoAnswer::Standstill))
            }
        }
    }
}

/// Listens; the address tells the port where `0` was asked for.
///
/// # Errors
/// An address that is in use or not ours.
pub async fn listen(at: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(at).await?;
    let at = listener.local_addr()?;
    Ok((listener, at))
}

/// Serves until `stop` says so.
pub async fn serve(
    listener: TcpListener,
    (asker, reloader): (Asker, Reloader),
    metrics: PrometheusHandle,
    desk: Router,
    hosts: Vec<String>,
    mut stop: watch::Receiver<bool>,
) {
    let router =
        api::router(asker, reloader, metrics).layer(RequestBodyLimitLayer::new(BODY_BYTES_MAX));
    let at = listener.local_addr().ok();
    let hosts = Arc::new(Hosts::new(at, hosts));
    let router = router.merge(desk).layer(from_fn_with_state(hosts, hosts::door));
    let stopped = async move {
        drop(stop.wait_for(|stop| *stop).await);
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "The HTTP listener has failed.");
    }
}
