//! The door of the embedded broker: MQTT 3.1.1 and 5 on one port.
//!
//! rumqttd speaks either version on a port, accepts without a limit, and panics at a first packet
//! that is no CONNECT. The door reads the head of the first packet, within a time limit and up to
//! `max_connections`, and passes the stream on to the listener for its version, packet by packet:
//! see [`super::topics`], [`super::gate`] and [`super::oversized`].

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, BufReader, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::gate::Gate;
use super::topics::{self, Rules};

const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// After an error of `accept` (out of file descriptors), which would come again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Each connection has four buffers of this size.
const BUFFER_BYTES: usize = 4 * 1024;

/// The listeners behind the door, and what may pass.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    pub v4: SocketAddr,
    pub v5: SocketAddr,
    pub rest_bytes_max: usize,
    pub gate: Gate,
}

/// Lets clients in until the task is aborted.
pub(super) async fn serve(listener: TcpListener, rooms: Rooms, max_connections: usize) {
    let places = Arc::new(Semaphore::new(max_connections));
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                tracing::warn!(%error, "A client could not be accepted.");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::warn!(max_connections, "A client was turned away: too many connections.");
            continue;
        };
        let rooms = rooms.clone();
        tokio::spawn(async move {
            if let Err(error) = pass(client, &rooms).await {
                tracing::debug!(%error, "A client's connection ended.");
            }
            drop(place);
        });
    }
}

async fn pass(mut client: TcpStream, rooms: &Rooms) -> io::Result<()> {
    client.set_nodelay(true)?;
    let head = tokio::time::timeout(HEAD_TIMEOUT, read_head(&mut client)).await??;
    let (room, level) = match protocol_level(&head) {
        Some(4) => (rooms.v4, 4),
        Some(5) => (rooms.v5, 5),
        _ => {
            return Err(io::Error::other("the first packet is no CONNECT of MQTT 3.1.1 or 5"));
        }
    };
    let broker = TcpStream::connect(room).await?;
    broker.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    let from_client =
        BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(from_client));
    let from_broker = BufReader::with_capacity(BUFFER_BYTES, from_broker);
    let rules = Rules { level, rest_bytes_max: rooms.rest_bytes_max, gate: &rooms.gate };
    tokio::select! {
        ended = topics::pass_in(from_client, buffered(to_broker), rules) => ended?,
        ended = topics::pass_out(from_broker, buffered(to_client)) => ended?,
    }
    Ok(())
}

fn buffered<W: AsyncWrite>(to: W) -> BufWriter<W> {
    BufWriter::with_capacity(BUFFER_BYTES, to)
}

/// Type, length of at most 4 bytes, `MQTT` with its length, protocol level.
const HEAD_BYTES_MAX: usize = 1 + 4 + 6 + 1;

async fn read_head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
    loop {
        head.push(client.read_u8().await?);
        let is_wrong = head.first() != Some(&0x10);
        if is_wrong || head.len() == HEAD_BYTES_MAX || protocol_level(&head).is_some() {
            return Ok(head);
        }
    }
}

/// The protocol level of a CONNECT packet that is complete up to there.
fn protocol_level(head: &[u8]) -> Option<u8> {
    let (&0x10, rest) = head.split_first()? else {
        return None;
    };
    let length = rest.iter().take(4).take_while(|byte| **byte & 0x80 != 0);
    let name = rest.get(length.count() + 1..)?;
    name.strip_prefix(b"\0\x04MQTT")?.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_first_packet_and_from_no_other() {
        assert_eq!(protocol_level(b"\x10\x0d\0\x04MQTT\x04\x02"), Some(4));
        assert_eq!(protocol_level(b"\x10\x80\x02\0\x04MQTT\x05"), Some(5));
        assert_eq!(protocol_level(b"\x10\x0d\0\x04MQTT"), None);
        assert_eq!(protocol_level(b"\x20\x0d\0\x04MQTT\x04"), None);
        assert_eq!(protocol_level(b"\x10\x0d\0\x06MQIsdp\x03"), None);
    }
}
