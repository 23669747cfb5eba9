//! The network between the gateway and its upstreams: requests that are under way.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use faultgate::io::clock;
use faultgate::io::upstream::{Request, Response, UnderWay, Wire, WireError};

/// What came of a request, or the end of a pause.
#[derive(Debug)]
pub enum Arrived {
    /// An answer, or none.
    Answer(Result<Response, WireError>),
    /// The time has passed.
    PauseOver,
}

/// What the gateway has begun.
#[derive(Debug)]
pub enum Begun {
    /// A request to the upstream of this number.
    Request(usize, Box<Request>),
    /// A pause.
    Pause(Duration),
}

/// What is on its way.
#[derive(Debug)]
struct Traffic {
    /// When it began, and how long it has gone on, in the time of the simulation.
    clock: (Instant, Duration),
    last: u64,
    begun: Vec<(u64, Begun)>,
    arrived: BTreeMap<u64, Arrived>,
}

/// The network; what is sent over it is delivered by the world.
#[derive(Clone, Debug)]
pub struct Net(Arc<Mutex<Traffic>>);

impl Default for Net {
    fn default() -> Net {
        Net(Arc::new(Mutex::new(Traffic {
            clock: (clock::monotonic(), Duration::ZERO),
            last: 0,
            begun: Vec::new(),
            arrived: BTreeMap::new(),
        })))
    }
}

impl Net {
    /// So much time has passed since the beginning.
    pub fn set_time(&self, passed: Duration) {
        self.traffic().clock.1 = passed;
    }

    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was begun since the last time, in order.
    pub fn begun(&self) -> Vec<(u64, Begun)> {
        std::mem::take(&mut self.traffic().begun)
    }

    /// Brings something to the gateway.
    pub fn bring(&self, number: u64, arrived: Arrived) {
        self.traffic().arrived.insert(number, arrived);
    }

    /// What nobody waits for any more.
    pub fn forget(&self) {
        self.traffic().arrived.clear();
    }

    fn begin(&self, begun: Begun) -> u64 {
        let mut traffic = self.traffic();
        traffic.last += 1;
        let number = traffic.last;
        traffic.begun.push((number, begun));
        number
    }

    async fn wait(&self, number: u64) -> Arrived {
        poll_fn(|_| match self.traffic().arrived.remove(&number) {
            Some(arrived) => Poll::Ready(arrived),
            None => Poll::Pending,
        })
        .await
    }

    /// The way to one upstream.
    pub fn to(&self, upstream: usize) -> Arc<dyn Wire> {
        Arc::new(Way { net: self.clone(), upstream })
    }
}

#[derive(Debug)]
struct Way {
    net: Net,
    upstream: usize,
}

impl Wire for Way {
    fn send(&self, request: Request) -> UnderWay<'_, Result<Response, WireError>> {
        Box::pin(async move {
            let number = self.net.begin(Begun::Request(self.upstream, Box::new(request)));
            match self.net.wait(number).await {
                Arrived::Answer(answer) => answer,
                Arrived::PauseOver => Err(WireError::Lost("nothing came".to_owned())),
            }
        })
    }

    fn pause(&self, time: Duration) -> UnderWay<'_, ()> {
        Box::pin(async move {
            let number = self.net.begin(Begun::Pause(time));
            self.net.wait(number).await;
        })
    }

    fn now(&self) -> Instant {
        let (began, passed) = self.net.traffic().clock;
        began + passed
    }
}
