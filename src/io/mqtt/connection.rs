//! One connection to an external broker, for a client that only subscribes: MQTT 3.1.1 over TCP or
//! TLS, in the packets of rumqttc's codec.
//!
//! rumqttc's own loop writes every acknowledgement by itself, and hands out ten packets at a time.
//! Here everything that the socket has is read at once, and everything that is to be sent is
//! written at once.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use rumqttc::mqttbytes::{Error as CodecError, Protocol};
use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::{ConnAck, Connect, ConnectReturnCode, Login, Packet};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::session::{KEEP_ALIVE, PACKET_BYTES_MAX};

/// Time until the broker has accepted us, and time until it takes what we write.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// What one read takes at the most, unless a packet is longer.
const READ_BYTES: usize = 64 * 1024;

/// Where to connect, and as whom.
#[derive(Clone)]
pub(super) struct Dial {
    /// Host and port.
    pub address: String,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    pub login: Option<Login>,
    pub client_id: String,
}

/// Why there is no connection any more, or none at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("I/O: {0}")]
    Io(#[from] io::Error),
    #[error("the broker sent what is not MQTT 3.1.1: {0}")]
    Packet(#[from] CodecError),
    #[error("the broker refused the connection: {0:?}")]
    Refused(ConnectReturnCode),
    #[error("the broker ended the connection")]
    Ended,
    #[error("the broker did not answer in time")]
    Silent,
}

/// A connection that the broker has accepted.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    received: BytesMut,
    to_send: BytesMut,
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Connection {
    /// Connects, and tells whether the broker had kept our session.
    pub async fn open(dial: &Dial) -> Result<(Connection, bool), ConnectionError> {
        let opened = timeout(ANSWER_WITHIN, Connection::introduce(dial)).await;
        opened.unwrap_or(Err(ConnectionError::Silent))
    }

    async fn introduce(dial: &Dial) -> Result<(Connection, bool), ConnectionError> {
        let socket = TcpStream::connect(&dial.address).await?;
        socket.set_nodelay(true)?;
        let socket: Box<dyn Socket> = match &dial.tls {
            None => Box::new(socket),
            Some((connector, name)) => Box::new(connector.connect(name.clone(), socket).await?),
        };
        let (received, to_send) = (BytesMut::new(), BytesMut::new());
        let mut connection = Connection { socket, received, to_send };
        connection.put(&Packet::Connect(Connect {
            protocol: Protocol::V4,
            keep_alive: KEEP_ALIVE.as_secs() as u16,
            client_id: dial.client_id.clone(),
            clean_session: false,
            last_will: None,
            login: dial.login.clone(),
        }))?;
        connection.flush().await?;
        loop {
            match connection.next_packet()? {
                Some(Packet::ConnAck(ConnAck { session_present, code })) => {
                    if code != ConnectReturnCode::Success {
                        return Err(ConnectionError::Refused(code));
                    }
                    return Ok((connection, session_present));
                }
                Some(_) => return Err(CodecError::MalformedPacket.into()),
                None => connection.receive().await?,
            }
        }
    }

    /// Waits until the socket has something, and takes what it has. May be cancelled.
    pub async fn receive(&mut self) -> Result<(), ConnectionError> {
        self.received.reserve(READ_BYTES);
        match self.socket.read_buf(&mut self.received).await? {
            0 => Err(ConnectionError::Ended),
            _ => Ok(()),
        }
    }

    /// The next packet of what was received.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, ConnectionError> {
        match Packet::read(&mut self.received, PACKET_BYTES_MAX) {
            Ok(packet) => Ok(Some(packet)),
            Err(CodecError::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a packet to what the next [`Connection::flush`] sends.
    pub fn put(&mut self, packet: &Packet) -> Result<(), ConnectionError> {
        packet.write(&mut self.to_send, PACKET_BYTES_MAX)?;
        Ok(())
    }

    /// Sends what was put, in one write where the socket takes it. A broker that takes nothing for
    /// [`ANSWER_WITHIN`] is given up: while we wait we do not read, and it may wait for that.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        if self.to_send.is_empty() {
            return Ok(());
        }
        let written = timeout(ANSWER_WITHIN, async {
            self.socket.write_all(&self.to_send).await?;
            self.socket.flush().await
        });
        match written.await {
            Ok(written) => written?,
            Err(_) => return Err(ConnectionError::Silent),
        }
        self.to_send.clear();
        Ok(())
    }
}
