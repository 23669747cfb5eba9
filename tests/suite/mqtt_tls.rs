//! `mqtts://`: a broker is believed when its certificate is, and it knows us by ours.

use std::path::{Path, PathBuf};
use std::time::Duration;

use faultgate::io::mqtt::config::{BrokerUrl, Transport};
use faultgate::io::mqtt::external::Subscriber;
use faultgate::io::mqtt::publish::Publisher;
use faultgate::io::mqtt::{Arrival, MqttEvent, inbox};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::mosquitto::{Mosquitto, transport};

const LIMIT: Duration = Duration::from_secs(30);

/// An authority in `dir`: `NAME.pem`.
fn authority(dir: &Path, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(dir.join(format!("{name}.pem")), authority.pem()).unwrap();
    authority
}

/// A certificate in `dir`: `NAME.pem` and `NAME.key`.
fn certificate(
    dir: &Path,
    name: &str,
    host: &str,
    by: &CertifiedIssuer<'static, KeyPair>,
) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
    params.distinguished_name.push(DnType::CommonName, name);
    let signed = params.signed_by(&key, by).unwrap();
    let files = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    std::fs::write(&files.0, signed.pem()).unwrap();
    std::fs::write(&files.1, key.serialize_pem()).unwrap();
    files
}

/// A mosquitto that takes only clients with a certificate, and what a client needs for it.
fn broker(dir: &Path) -> Option<(Mosquitto, Transport)> {
    let own = authority(dir, "ca");
    certificate(dir, "server", "127.0.0.1", &own);
    let client = certificate(dir, "client", "gateway", &own);
    let mosquitto = Mosquitto::start_with(|_| {
        let file = |name: &str| dir.join(name).display().to_string();
        let (ca, certificate, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
        // Mosquitto drops its rights when it is started as root; the files are ours.
        format!(
            "user root\nallow_anonymous true\nrequire_certificate true\ncafile {ca}\ncertfile {certificate}\nkeyfile {key}\n"
        )
    })?;
    let transport = Transport {
        url: BrokerUrl::External { host: "127.0.0.1".into(), port: mosquitto.port, tls: true },
        ca: Some(dir.join("ca.pem")),
        client_certificate: Some(client),
        ..transport(mosquitto.port, "设备/+", "gateway")
    };
    Some((mosquitto, transport))
}

#[tokio::test]
async fn messages_come_over_tls_from_a_broker_that_asks_for_a_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_mosquitto, source)) = broker(dir.path()) else {
        return;
    };
    let device = Transport { client_id: "device".into(), ..source.clone() };
    let publisher = Publisher::start(&device, None).unwrap();
    publisher.publish("设备/1", b"7".to_vec(), true).await.unwrap();
    let confirmed = publisher.confirmed(LIMIT).await;
    assert!(confirmed.is_ok(), "{confirmed:?}: {:?}", publisher.trouble());
    let (inbox, mut arrivals) = inbox();
    let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
    let received = async {
        loop {
            if let Arrival::Message(incoming) = arrivals.recv().await.unwrap() {
                return incoming.message;
            }
        }
    };
    let message = tokio::time::timeout(LIMIT, received).await.unwrap();
    assert_eq!((message.topic.as_str(), message.payload.as_slice()), ("设备/1", &b"7"[..]));
}

#[tokio::test]
async fn a_broker_whose_certificate_is_not_trusted_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_mosquitto, source)) = broker(dir.path()) else {
        return;
    };
    authority(dir.path(), "other");
    let source = Transport { ca: Some(dir.path().join("other.pem")), ..source };
    let (inbox, mut arrivals) = inbox();
    let _subscriber = Subscriber::start(0, &source, None, 1024, inbox).unwrap();
    let refused = async {
        loop {
            match arrivals.recv().await.unwrap() {
                // While mosquitto starts, nothing listens.
                Arrival::Event { event: MqttEvent::Disconnected { reason }, .. }
                    if !reason.contains("refused") =>
                {
                    return reason;
                }
                Arrival::Event { event: MqttEvent::Connected, .. } => panic!("connected"),
                Arrival::Event { .. } | Arrival::Message(_) => {}
            }
        }
    };
    let reason = tokio::time::timeout(LIMIT, refused).await.unwrap();
    assert!(reason.contains("certificate"), "{reason}");
}
