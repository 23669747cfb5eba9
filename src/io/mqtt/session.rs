//! What all clients of an external broker share: how it is reached, and when to try again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::{EventLoop, Login, MqttOptions, TlsConfiguration};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::config::{BrokerUrl, Transport};
use super::connection::Dial;
use crate::io::clock;

/// Largest packet that is read at all. A payload past the configured limit but below this one is
/// counted and acknowledged; a packet past this one ends the connection, and since the broker
/// sends it again, the pauses grow to [`PAUSE_MAX`].
pub(super) const PACKET_BYTES_MAX: usize = 16 << 20;
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A connection that held this long was a good one: the pauses begin anew.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

/// Why a client could not be made; the connection itself is tried for ever.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of the TLS settings.
    #[error("{}: cannot be used as {what}: {cause}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What it was to be.
        what: &'static str,
        /// Why not.
        cause: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
    /// The source is embedded.
    #[error("the embedded broker is not reached over the network; write a `url` mqtt://host:port")]
    Embedded,
    /// The client has ended.
    #[error("the connection to the broker was closed by us")]
    Closed,
    /// The broker did not confirm in time.
    #[error("the broker has not confirmed {0} messages in time; they may or may not have arrived")]
    Unconfirmed(usize),
}

/// The options of a client, without a session of its own kind.
pub(super) fn options(
    transport: &Transport,
    password: Option<&str>,
) -> Result<MqttOptions, ClientError> {
    let BrokerUrl::External { host, port, tls } = &transport.url else {
        return Err(ClientError::Embedded);
    };
    let mut options = MqttOptions::new(&transport.client_id, host, *port);
    options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(user) = &transport.user {
        options.set_credentials(user, password.unwrap_or_default());
    }
    if *tls {
        let config = TlsConfiguration::Rustls(Arc::new(tls_config(transport)?));
        options.set_transport(rumqttc::Transport::tls_with_config(config));
    }
    Ok(options)
}

/// How the subscribing client connects.
pub(super) fn dial(transport: &Transport, password: Option<&str>) -> Result<Dial, ClientError> {
    let BrokerUrl::External { host, port, tls } = &transport.url else {
        return Err(ClientError::Embedded);
    };
    let tls = if *tls {
        // An IPv6 address stands in brackets in a URL, and without them in a certificate.
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| ClientError::Tls(error.to_string()))?;
        Some((TlsConnector::from(Arc::new(tls_config(transport)?)), name))
    } else {
        None
    };
    let login = |user: &String| Login::new(user, password.unwrap_or_default());
    Ok(Dial {
        address: format!("{host}:{port}"),
        tls,
        login: transport.user.as_ref().map(login),
        client_id: transport.client_id.clone(),
    })
}

/// The settings of the socket that rumqttc has elsewhere.
pub(super) fn tune(events: &mut EventLoop) {
    events.network_options.set_tcp_nodelay(true);
}

fn tls_config(transport: &Transport) -> Result<ClientConfig, ClientError> {
    let tls = |error: rustls::Error| ClientError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots(transport.ca.as_deref())?);
    match &transport.client_certificate {
        None => Ok(builder.with_no_client_auth()),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let text = read(key, "a private key")?;
            let parsed = PrivateKeyDer::from_pem_slice(&text);
            let parsed = parsed.map_err(|error| unusable(key, "a private key", &error))?;
            builder.with_client_auth_cert(chain, parsed).map_err(tls)
        }
    }
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, ClientError> {
    let trusted = match ca {
        Some(file) => certificates(file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(trusted);
    if added == 0 {
        let cause = "no certificate to trust was found; name a file with `ca`";
        return Err(ClientError::Tls(cause.to_owned()));
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    const WHAT: &str = "certificates";
    let text = read(file, WHAT)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| unusable(file, WHAT, &error))?;
    if found.is_empty() {
        let none = io::Error::other("it holds none (PEM)");
        return Err(unusable(file, WHAT, &none));
    }
    Ok(found)
}

fn read(file: &Path, what: &'static str) -> Result<Vec<u8>, ClientError> {
    fs::read(file).map_err(|error| unusable(file, what, &error))
}

fn unusable(file: &Path, what: &'static str, cause: &impl ToString) -> ClientError {
    ClientError::File { file: file.to_path_buf(), what, cause: cause.to_string() }
}

/// Pauses between attempts: 0.1 s, doubled up to 30 s, with up to half of it taken off so that
/// many gateways do not come back at the same moment.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
    connected: Option<Instant>,
}

impl Backoff {
    pub fn connected(&mut self) {
        self.connected = Some(clock::monotonic());
    }

    /// The pause after a failure.
    pub fn pause(&mut self) -> Duration {
        let held = self.connected.take().map(|since| since.elapsed());
        if held.is_some_and(|held| held >= GOOD_CONNECTION) {
            self.attempts = 0;
        }
        let pause = pause(self.attempts, clock::now().micros().unsigned_abs());
        self.attempts = self.attempts.saturating_add(1);
        pause
    }
}

fn pause(attempts: u32, noise: u64) -> Duration {
    let full = PAUSE_MIN.saturating_mul(1 << attempts.min(16)).min(PAUSE_MAX);
    let off = noise.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54; // 10 well mixed bits
    full - full.mul_f64(off as f64 / 2048.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_are_never_nothing() {
        for noise in [0, 1, 12_345_678, u64::MAX] {
            assert!(pause(0, noise) >= Duration::from_millis(50));
            assert!(pause(0, noise) <= Duration::from_millis(100));
            assert!(pause(40, noise) >= Duration::from_secs(15));
            assert!(pause(40, noise) <= Duration::from_secs(30));
        }
        assert_ne!(pause(40, 1), pause(40, 2));
    }
}
