//! A ticket system of a test's own making: it answers as the test says and keeps what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

/// What came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST /tickets?x=1`.
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What is answered.
pub struct Said {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    /// The answer is never sent.
    hangs: bool,
}

/// An answer with a body.
pub fn said(status: u16, body: &str) -> Said {
    Said { status, headers: Vec::new(), body: body.to_owned(), hangs: false }
}

impl Said {
    pub fn with(mut self, name: &'static str, value: &str) -> Said {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn never(mut self) -> Said {
        self.hangs = true;
        self
    }
}

type Script = Arc<Mutex<Box<dyn FnMut(&Asked) -> Said + Send>>>;

/// The server; it ends with the test.
#[derive(Clone)]
pub struct Fake {
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Script,
}

impl Fake {
    pub async fn start(script: impl FnMut(&Asked) -> Said + Send + 'static) -> Fake {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let script: Script = Arc::new(Mutex::new(Box::new(script)));
        let fake = Fake { address, asked: Arc::default(), script };
        let router = Router::new().fallback(answer).with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    /// The head of an upstream's file.
    pub fn head(&self) -> String {
        format!(
            "name = \"u\"\nkind = \"http\"\nurl = \"http://{}/api/\"\n\
             rate = {{ per_second = 1000, burst = 1000 }}\n",
            self.address
        )
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a list").clone()
    }

    /// How many requests began like this.
    pub fn count(&self, start: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line.starts_with(start)).count()
    }

    pub fn last(&self) -> Asked {
        self.asked().last().expect("a request").clone()
    }
}

async fn answer(
    State(fake): State<Fake>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    let asked = Asked { line: format!("{method} {uri}"), headers, body };
    fake.asked.lock().expect("a list").push(asked.clone());
    let said = (fake.script.lock().expect("a script"))(&asked);
    if said.hangs {
        std::future::pending::<()>().await;
    }
    let status = StatusCode::from_u16(said.status).expect("a code");
    let mut response = (status, said.body).into_response();
    for (name, value) in said.headers {
        let value = HeaderValue::from_str(&value).expect("a header");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}
