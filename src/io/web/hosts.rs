//! Who a request is meant for. A page of another site can let its own name point to loopback (DNS
//! rebinding) and then read and write here through the browser of whoever looks at it: the name
//! that the browser asked for gives it away.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// The names of this listener.
#[derive(Debug)]
pub(super) struct Hosts {
    listen: Option<IpAddr>,
    named: Vec<String>,
}

impl Hosts {
    /// Loopback names, the address that is listened on, and the configured names.
    pub fn new(listen: Option<SocketAddr>, named: Vec<String>) -> Hosts {
        let named = named.iter().map(|name| name.to_ascii_lowercase()).collect();
        Hosts { listen: listen.map(|at| at.ip()), named }
    }

    /// True for `host` or `host:port` that is one of ours.
    fn know(&self, host: &str) -> bool {
        let host = host.trim().to_ascii_lowercase();
        let name = without_port(&host).trim_end_matches('.');
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(address) if address.is_loopback() || Some(address) == self.listen => true,
            _ => name == "localhost" || self.named.iter().any(|ours| ours == name),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Refuses what is meant for another host, and what a page of another site sends.
pub(super) async fn door(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    // Browsers always name the host; what names none is no browser.
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let host = host.map(|host| std::str::from_utf8(host).unwrap_or(""));
    if host.is_some_and(|host| !hosts.know(host)) {
        let message = "this host name is not known here; a proxy's name goes into `[http] hosts`";
        return refuse(StatusCode::MISDIRECTED_REQUEST, message);
    }
    if !is_own_page(headers, host.unwrap_or_default()) {
        return refuse(StatusCode::FORBIDDEN, "the request is from a page of another site");
    }
    next.run(request).await
}

fn is_own_page(headers: &HeaderMap, host: &str) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let from = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    from.is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_listener_are_known() {
        let at = "192.168.1.5:8080".parse().ok();
        let hosts = Hosts::new(at, vec!["Faults.example".to_owned()]);
        for ours in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:80",
            "localhost.",
            "[::1]:8080",
            "[::1]",
            "192.168.1.5:8080",
            "faults.example",
            "faults.example:443",
        ] {
            assert!(hosts.know(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "127.0.0.1.evil.example:8080",
            "localhost.evil.example",
            "evil.example:127",
            "192.168.1.6",
            "faults.example.evil",
            "冷柜.example",
        ] {
            assert!(!hosts.know(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_page_of_another_site_is_told_by_its_origin() {
        let headers = |origin: &'static str| {
            HeaderMap::from_iter([(ORIGIN, HeaderValue::from_static(origin))])
        };
        assert!(is_own_page(&HeaderMap::new(), "127.0.0.1:8080"));
        assert!(is_own_page(&headers("http://127.0.0.1:8080"), "127.0.0.1:8080"));
        assert!(!is_own_page(&headers("http://127.0.0.1:9999"), "127.0.0.1:8080"));
        assert!(!is_own_page(&headers("null"), "127.0.0.1:8080"));
    }
}
