//! `[broker]`, and the part of `[[source]]` that says where messages come from.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::engine::types::document::{Bytes, Located, Table};

/// Largest payload where nothing is said, in bytes.
const MAX_PAYLOAD: usize = 256 * 1024;
/// Largest payload that can be asked for, in bytes.
const MAX_PAYLOAD_LIMIT: usize = 8 * 1024 * 1024;
const MAX_CONNECTIONS: u32 = 10_000;

/// The embedded broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// False: only external brokers.
    pub enabled: bool,
    /// Where devices connect.
    pub listen: SocketAddr,
    /// Largest payload of a message, in bytes; of every source.
    pub max_payload: usize,
    /// Devices that can be connected at the same time.
    pub max_connections: usize,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        BrokerConfig {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 1883)),
            max_payload: MAX_PAYLOAD,
            max_connections: MAX_CONNECTIONS as usize,
        }
    }
}

/// Where the messages of a source come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The broker.
    pub url: BrokerUrl,
    /// User name.
    pub user: Option<String>,
    /// File with the certificates that are trusted (PEM); the system's where absent.
    pub ca: Option<PathBuf>,
    /// Files with our certificate and its key (PEM).
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Topic filters.
    pub topics: Vec<String>,
    /// Quality of service: 0 or 1.
    pub qos: u8,
    /// Group of gateways that share the messages; empty for none.
    pub shared_group: String,
    /// The name under which the broker keeps our session; must differ between gateways.
    pub client_id: String,
}

impl Transport {
    /// The topic filters as they are subscribed, with the shared group.
    pub fn filters(&self) -> Vec<String> {
        let group = &self.shared_group;
        self.topics
            .iter()
            .map(|topic| match group.is_empty() {
                true => topic.clone(),
                false => format!("$share/{group}/{topic}"),
            })
            .collect()
    }
}

/// Which broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerUrl {
    /// The one inside.
    Embedded,
    /// Another one.
    External {
        /// Host name or address.
        host: String,
        /// TCP port.
        port: u16,
        /// `mqtts://`.
        tls: bool,
    },
}

/// Reads `[broker]`.
pub fn broker(table: &Table<'_>) -> Option<BrokerConfig> {
    table.not_built(
        "tls",
        "leave it out, and put a broker with TLS (mosquitto, EMQX) in front: `url = \"mqtts://...\"` in the source",
    );
    table.not_built(
        "user",
        "leave it out, and use an external broker with users; the embedded one serves this machine only",
    );
    let default = BrokerConfig::default();
    let enabled = table.or("enabled", default.enabled);
    let listen = table.optional::<Located<String>>("listen");
    let listen = listen.map_or(Some(default.listen), |listen| address(table, &listen));
    let max_payload = table.optional("max_payload").map(|Bytes(bytes)| bytes);
    let max_payload = max_payload
        .map_or(default.max_payload, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    if !(1..=MAX_PAYLOAD_LIMIT).contains(&max_payload) {
        let message = "`broker.max_payload` must be from 1B to 8MiB";
        let place = table.place();
        place.error(table.span(), "out-of-range", message, "the default is \"256KiB\"");
    }
    Some(BrokerConfig {
        enabled,
        listen: listen?,
        max_payload,
        max_connections: table.or("max_connections", MAX_CONNECTIONS) as usize,
    })
}

/// Reads the transport keys of a `[[source]]`; `name` makes the default client id, `filters` are
/// subscribed where the operator names no topics.
pub fn transport(table: &Table<'_>, name: &str, filters: &[String]) -> Option<Transport> {
    let url = table.required::<Located<String>>("url");
    let url = url.and_then(|url| broker_url(table, &url));
    let certificate = table.optional::<String>("certificate").map(PathBuf::from);
    let key = table.optional::<String>("key").map(PathBuf::from);
    if certificate.is_some() != key.is_some() {
        let message = "`certificate` and `key` belong together";
        let place = table.place();
        place.error(table.span(), "missing-key", message, "name both files, or neither");
    }
    let topics = topics(table, filters);
    let qos = table.optional::<Located<u32>>("qos");
    if let Some(qos) = &qos
        && qos.value > 1
    {
        let message = format!("`qos` {} is not supported in this version", qos.value);
        let hint = "write 1: a message that comes twice changes nothing";
        table.place().error(qos.span.clone(), "not-supported", message, hint);
    }
    Some(Transport {
        url: url?,
        user: table.optional("user"),
        ca: table.optional::<String>("ca").map(PathBuf::from),
        client_certificate: certificate.zip(key),
        topics: topics?,
        qos: qos.map_or(1, |qos| u8::from(qos.value > 0)),
        shared_group: shared_group(table),
        client_id: table.or("client_id", format!("faultgate-{name}")),
    })
}

fn address(table: &Table<'_>, listen: &Located<String>) -> Option<SocketAddr> {
    let Ok(address) = listen.value.parse::<SocketAddr>() else {
        let message = format!("`listen`: \"{}\" is not an address and a port", listen.value);
        let hint = "for example \"127.0.0.1:1883\"";
        table.place().error(listen.span.clone(), "wrong-value", message, hint);
        return None;
    };
    if !address.ip().is_loopback() {
        let message = format!(
            "`listen`: {address} can be reached from outside, and there are no users and no TLS yet"
        );
        let hint = "write \"127.0.0.1:1883\", and put a broker with users and TLS in front for devices elsewhere";
        table.place().error(listen.span.clone(), "not-supported", message, hint);
        return None;
    }
    Some(address)
}

fn topics(table: &Table<'_>, filters: &[String]) -> Option<Vec<String>> {
    if !filters.is_empty() && !table.has("topics") {
        return Some(filters.to_vec());
    }
    let topics = table.required::<Vec<Located<String>>>("topics")?;
    let wrong = |topic: &Located<String>, cause: &str| {
        let message = format!("`topics`: \"{}\" {cause}", topic.value);
        let hint = "for example \"plant/+/freezer/#\"";
        table.place().error(topic.span.clone(), "wrong-value", message, hint);
    };
    for topic in &topics {
        let levels: Vec<&str> = topic.value.split('/').collect();
        let last = levels.len() - 1;
        let misplaced = levels.iter().enumerate().any(|(at, level)| {
            (level.contains('#') && (*level != "#" || at != last))
                || (level.contains('+') && *level != "+")
        });
        if topic.value.is_empty() || topic.value.contains('\0') || misplaced {
            wrong(topic, "is not a topic filter");
        } else if topic.value.starts_with("$share/") {
            wrong(topic, "names a shared group; use `shared_group`");
        }
    }
    Some(topics.into_iter().map(|topic| topic.value).collect())
}

fn shared_group(table: &Table<'_>) -> String {
    let group = table.optional::<Located<String>>("shared_group");
    let Some(group) = group else {
        return String::new();
    };
    if group.value.contains(['/', '+', '#']) {
        let message = format!("`shared_group`: \"{}\" must not have / + #", group.value);
        let hint = "for example \"gateways\"";
        table.place().error(group.span, "wrong-value", message, hint);
        return String::new();
    }
    group.value
}

fn broker_url(table: &Table<'_>, url: &Located<String>) -> Option<BrokerUrl> {
    if url.value == "embedded" {
        return Some(BrokerUrl::Embedded);
    }
    let wrong = |code, cause: &str, hint: &str| {
        let message = format!("`url`: \"{}\" {cause}", url.value);
        table.place().error(url.span.clone(), code, message, hint);
        None
    };
    let hint = "write \"embedded\", \"mqtt://host:1883\" or \"mqtts://host:8883\"";
    let (scheme, rest) = match url.value.split_once("://") {
        Some(parts) => parts,
        None => return wrong("wrong-value", "is not the address of a broker", hint),
    };
    let (tls, port) = match scheme {
        "mqtt" => (false, 1883),
        "mqtts" => (true, 8883),
        "ws" | "wss" => {
            let cause = "is MQTT over WebSocket, which is not supported in this version";
            return wrong("not-supported", cause, hint);
        }
        _ => return wrong("wrong-value", "is not the address of a broker", hint),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return wrong("wrong-value", "has a user in it", "use `user` and `password`");
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, digits)) if !digits.ends_with(']') => (host, digits.parse().ok()),
        _ => (rest, Some(port)),
    };
    match port {
        Some(port) if !host.is_empty() && !host.contains('/') => {
            Some(BrokerUrl::External { host: host.to_owned(), port, tls })
        }
        _ => wrong("wrong-value", "is not a host and a port", hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::types::diagnostic::{Report, Source};
    use crate::engine::types::document::{Place, read_document};

    fn read<T>(text: &str, read: impl FnOnce(&Table<'_>) -> Option<T>) -> (Option<T>, Vec<String>) {
        let source = Source { file: "f.toml".into(), text: text.into() };
        let report = Report::default();
        let place = Place { source: &source, report: &report };
        let value = read_document(place, read);
        let found = report.into_sorted();
        (value, found.iter().map(|found| found.message.clone()).collect())
    }

    #[test]
    fn a_broker_that_could_be_reached_from_outside_is_refused_by_name() {
        let (config, found) = read("listen = \"0.0.0.0:1883\"\n[tls]\n[[user]]\n", broker);
        assert_eq!(config, None);
        let all = found.join("\n");
        for word in ["`listen`", "`tls` is not supported", "`user` is not supported"] {
            assert!(all.contains(word), "{word}: {all}");
        }
        let (config, found) = read("listen = \"[::1]:1884\"\nmax_payload = \"1MiB\"", broker);
        assert_eq!(found, Vec::<String>::new());
        let config = config.unwrap();
        assert_eq!(config.max_payload, 1 << 20);
        assert_eq!(config.listen.to_string(), "[::1]:1884");
    }

    #[test]
    fn urls_and_topics_are_read_or_refused_with_a_reason() {
        let source = |url: &str, topic: &str| {
            let text = format!("url = \"{url}\"\ntopics = [\"{topic}\"]");
            read(&text, |table| transport(table, "plant", &[]))
        };
        let external = |host: &str, port, tls| BrokerUrl::External { host: host.into(), port, tls };
        for (url, expected) in [
            ("embedded", BrokerUrl::Embedded),
            ("mqtt://broker", external("broker", 1883, false)),
            ("mqtts://broker:9/", external("broker", 9, true)),
            ("mqtt://[::1]", external("[::1]", 1883, false)),
        ] {
            let (read, found) = source(url, "工厂/+/#");
            assert_eq!(found, Vec::<String>::new());
            let read = read.unwrap();
            assert_eq!((read.url, read.qos), (expected, 1));
            assert_eq!(read.client_id, "faultgate-plant");
        }
        for (url, topic, word) in [
            ("ws://broker", "a", "WebSocket"),
            ("mqtt://user:secret@broker", "a", "has a user"),
            ("mqtt://broker:99999", "a", "host and a port"),
            ("broker", "a", "address of a broker"),
            ("embedded", "a/#/b", "topic filter"),
            ("embedded", "a/b+", "topic filter"),
            ("embedded", "$share/g/a", "shared_group"),
        ] {
            let (_, found) = source(url, topic);
            assert!(found.len() == 1 && found[0].contains(word), "{url} {topic}: {found:?}");
        }
    }
}
