//! `GET /api/v1/backup`: everything that the gateway keeps, while it runs.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::io::backup::{self, Head, Sources};
use crate::io::clock;
use crate::io::desk::Desk;
use crate::io::journal::Journal;

/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait to be sent; then the copy waits for who reads it.
const PIECES_MAX: usize = 8;

/// What is backed up.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The gateway's store.
    pub journal: Arc<Journal>,
    /// The desk's.
    pub desk: Desk,
    /// The data folder.
    pub data: PathBuf,
    /// Name of the gateway.
    pub gateway: String,
}

/// The route.
pub fn router(kept: Kept) -> Router {
    Router::new().route("/api/v1/backup", get(send)).with_state(kept)
}

/// A backup that fails half-way breaks off: it has no end, and nothing takes it for whole.
async fn send(State(kept): State<Kept>) -> Response {
    let (pieces, sent) = mpsc::channel(PIECES_MAX);
    // It ends with the reader at the latest.
    drop(tokio::task::spawn_blocking(move || {
        let head = Head {
            gateway: kept.gateway.clone(),
            at: clock::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let Kept { journal, desk, data, .. } = &kept;
        let sources = Sources { journal, desk: Some(desk), data };
        let out = io::BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
        match backup::write(sources, &head, out) {
            Ok(tally) => tracing::info!(bytes = tally.bytes, "A backup was made."),
            Err(error) => {
                tracing::error!(%error, "A backup has failed.");
                let broken = io::Error::other(error.to_string());
                drop(pieces.blocking_send(Err(broken)));
            }
        }
    }));
    let kind = [(CONTENT_TYPE, "application/octet-stream")];
    (kind, Body::from_stream(ReceiverStream::new(sent))).into_response()
}

/// Sends what is written.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::other("nobody reads it any more"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
