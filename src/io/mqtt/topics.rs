//! A prefix on every topic between the door and rumqttd.
//!
//! rumqttd 0.20 cuts the first byte off a topic to look for `$`, and its router dies when that
//! byte is a part of a character: `设备/1` from any device would end the broker. With an ASCII
//! prefix, which clients never see, every topic begins with one byte that is a character.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::gate::Gate;
use super::oversized;

const PREFIX: &str = "f/";
/// Largest packet other than PUBLISH that a client may send, in bytes.
const CONTROL_BYTES_MAX: usize = 64 * 1024;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const WILL_FLAG: u8 = 0x04;
const QOS_BITS: u8 = 0x06;
const RETAIN_BIT: u8 = 0x01;

/// A topic filter as rumqttd gets it; those that begin with `$` keep their meaning.
pub(super) fn inside(filter: &str) -> String {
    if let Some((group, rest)) =
        filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'))
    {
        return format!("$share/{group}/{PREFIX}{rest}");
    }
    match filter.is_empty() || filter.starts_with('$') {
        true => filter.to_owned(),
        false => format!("{PREFIX}{filter}"),
    }
}

/// A topic as the device named it.
pub(super) fn outside(topic: &str) -> &str {
    topic.strip_prefix(PREFIX).unwrap_or(topic)
}

/// True when a message on `topic` reaches a subscription of `filter` (MQTT 3.1.1, 4.7); both as
/// devices name them, the filter perhaps with a shared group.
pub(super) fn fits(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/')) {
        Some((_, filter)) => filter,
        None => filter,
    };
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        if wanted == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// What the door knows of a client's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules<'a> {
    /// Protocol level: 4 or 5.
    pub level: u8,
    /// Largest rest of a PUBLISH after its topic, in bytes.
    pub rest_bytes_max: usize,
    /// No message passes while it is shut.
    pub gate: &'a Gate,
}

/// Passes the packets of a client on, with the prefix, until it closes the connection.
pub(super) async fn pass_in(
    mut from: impl AsyncBufRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    rules: Rules<'_>,
) -> io::Result<()> {
    while let Some((first, length)) = header(&mut from, &mut to).await? {
        match first >> 4 {
            PUBLISH => {
                rules.gate.pass().await;
                let (topic, rest) = topic(&mut from, length).await?;
                if rest > rules.rest_bytes_max {
                    oversized(&mut from, &mut to, first, &topic, rest, rules.level).await?;
                } else {
                    publish(&mut from, &mut to, first, &inside(&topic), rest).await?;
                }
            }
            CONNECT | SUBSCRIBE | UNSUBSCRIBE => {
                if length > CONTROL_BYTES_MAX {
                    return Err(malformed());
                }
                let mut body = vec![0; length];
                from.read_exact(&mut body).await?;
                let body = rewritten(first >> 4, &body, rules.level).ok_or_else(malformed)?;
                write_header(&mut to, first, body.len()).await?;
                to.write_all(&body).await?;
            }
            _ => {
                write_header(&mut to, first, length).await?;
                copy(&mut from, &mut to, length).await?;
            }
        }
    }
    Ok(())
}

/// Passes the packets of rumqttd on, without the prefix, until it closes the connection.
pub(super) async fn pass_out(
    mut from: impl AsyncBufRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    while let Some((first, length)) = header(&mut from, &mut to).await? {
        if first >> 4 == PUBLISH {
            let (topic, rest) = topic(&mut from, length).await?;
            publish(&mut from, &mut to, first, outside(&topic), rest).await?;
        } else {
            write_header(&mut to, first, length).await?;
            copy(&mut from, &mut to, length).await?;
        }
    }
    Ok(())
}

/// The next packet's first byte and length; what was written is sent off before waiting for it.
async fn header(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Option<(u8, usize)>> {
    to.flush().await?;
    let Some(first) = from.fill_buf().await?.first().copied() else {
        return Ok(None);
    };
    from.consume(1);
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = from.read_u8().await?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((first, length)));
        }
    }
    Err(malformed())
}

/// The topic of a PUBLISH, and how many bytes of the packet follow it.
async fn topic(
    from: &mut (impl AsyncBufRead + Unpin),
    length: usize,
) -> io::Result<(String, usize)> {
    let topic_length = usize::from(from.read_u16().await?);
    let rest = length.checked_sub(2 + topic_length).ok_or_else(malformed)?;
    let mut topic = vec![0; topic_length];
    from.read_exact(&mut topic).await?;
    let topic = String::from_utf8(topic).map_err(|_| malformed())?;
    Ok((topic, rest))
}

async fn publish(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    first: u8,
    topic: &str,
    rest: usize,
) -> io::Result<()> {
    let topic_length = u16::try_from(topic.len()).map_err(|_| malformed())?;
    write_header(to, first, 2 + topic.len() + rest).await?;
    to.write_u16(topic_length).await?;
    to.write_all(topic.as_bytes()).await?;
    copy(from, to, rest).await
}

/// Throws the rest of a PUBLISH away and passes a word on in its place.
async fn oversized(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    first: u8,
    topic: &str,
    rest: usize,
    level: u8,
) -> io::Result<()> {
    let mut word = Vec::new();
    let mut left = rest;
    if first & QOS_BITS != 0 {
        word.extend_from_slice(&from.read_u16().await?.to_be_bytes());
        left -= 2;
    }
    if level >= 5 {
        word.push(0); // no properties
    }
    word.extend_from_slice(&oversized::word(topic, left));
    copy(from, &mut tokio::io::sink(), left).await?;
    publish(&mut word.as_slice(), to, first & !RETAIN_BIT, oversized::TOPIC, word.len()).await
}

async fn write_header(
    to: &mut (impl AsyncWrite + Unpin),
    first: u8,
    length: usize,
) -> io::Result<()> {
    to.write_u8(first).await?;
    let mut rest = length;
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        to.write_u8(if rest > 0 { low | 0x80 } else { low }).await?;
        if rest == 0 {
            return Ok(());
        }
    }
}

async fn copy(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut length: usize,
) -> io::Result<()> {
    while length > 0 {
        let found = from.fill_buf().await?;
        let count = found.len().min(length);
        let Some(part) = found.get(..count).filter(|part| !part.is_empty()) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        to.write_all(part).await?;
        from.consume(count);
        length -= count;
    }
    Ok(())
}

/// A CONNECT, SUBSCRIBE or UNSUBSCRIBE with the prefix on its topics; `None` if it is malformed.
fn rewritten(kind: u8, body: &[u8], level: u8) -> Option<Vec<u8>> {
    let mut reader = Reader { rest: body, done: Vec::with_capacity(body.len() + 64) };
    if kind == CONNECT {
        reader.keep(7)?;
        let flags = *reader.rest.first()?;
        reader.keep(3)?;
        reader.properties(level)?;
        let before = reader.done.len();
        reader.text(str::to_owned)?;
        // The ids of our own links have a control character, so no client can push one out.
        if reader.done.get(before + 2..)?.iter().any(u8::is_ascii_control) {
            return None;
        }
        if flags & WILL_FLAG != 0 {
            reader.properties(level)?;
            reader.text(inside)?;
        }
        reader.keep(reader.rest.len())?;
        return Some(reader.done);
    }
    reader.keep(2)?;
    reader.properties(level)?;
    while !reader.rest.is_empty() {
        reader.text(inside)?;
        reader.keep(usize::from(kind == SUBSCRIBE))?;
    }
    Some(reader.done)
}

struct Reader<'a> {
    rest: &'a [u8],
    done: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(part)
    }

    fn keep(&mut self, count: usize) -> Option<()> {
        let part = self.take(count)?;
        self.done.extend_from_slice(part);
        Some(())
    }

    /// The properties of MQTT 5, as they are.
    fn properties(&mut self, level: u8) -> Option<()> {
        if level < 5 {
            return Some(());
        }
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = *self.rest.first()?;
            self.keep(1)?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return self.keep(length);
            }
        }
        None
    }

    fn text(&mut self, change: impl Fn(&str) -> String) -> Option<()> {
        let length = u16::from_be_bytes(self.take(2)?.try_into().ok()?);
        let text = change(std::str::from_utf8(self.take(usize::from(length))?).ok()?);
        let length = u16::try_from(text.len()).ok()?;
        self.done.extend_from_slice(&length.to_be_bytes());
        self.done.extend_from_slice(text.as_bytes());
        Some(())
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a packet is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn passed(packets: &[u8], level: u8) -> Vec<u8> {
        let mut inner = Vec::new();
        let gate = Gate::default();
        let rules = Rules { level, rest_bytes_max: 400, gate: &gate };
        pass_in(packets, &mut inner, rules).await.unwrap();
        inner
    }

    #[tokio::test]
    async fn a_client_sees_the_topics_that_it_sent() {
        let topic = "设备/1".as_bytes();
        let mut packet = vec![0x32, 0xb8, 0x02, 0, 8];
        packet.extend_from_slice(topic);
        packet.extend_from_slice(b"\0\x09");
        packet.extend_from_slice(&[b'x'; 300]);
        let inner = passed(&packet, 4).await;
        assert_eq!(&inner[3..7], b"\0\x0af/");
        let mut outer = Vec::new();
        pass_out(inner.as_slice(), &mut outer).await.unwrap();
        assert_eq!(outer, packet);
    }

    #[tokio::test]
    async fn filters_wills_and_shared_groups_get_the_prefix_and_dollar_topics_do_not() {
        let subscribe = b"\x82\x17\0\x01\0\x01#\x01\0\x0a$share/g/a\x01\0\x01$\0";
        let expected = b"\x82\x1b\0\x01\0\x03f/#\x01\0\x0c$share/g/f/a\x01\0\x01$\0";
        assert_eq!(passed(subscribe, 4).await, expected);
        let connect = b"\x10\x16\0\x04MQTT\x05\x04\0\x3c\0\0\x01c\0\0\x02ab\0\x01x";
        let expected = b"\x10\x18\0\x04MQTT\x05\x04\0\x3c\0\0\x01c\0\0\x04f/ab\0\x01x";
        assert_eq!(passed(connect, 5).await, expected);
        let alias = b"\x30\x06\0\0\x03\x23\0\x01";
        assert_eq!(passed(alias, 5).await, alias, "an empty topic is an alias");
    }

    #[tokio::test]
    async fn a_packet_that_lies_about_its_lengths_ends_the_connection() {
        for packet in [
            &b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02\x01c"[..],
            &b"\x82\x05\0\x01\0\x09a"[..],
            b"\x30\x03\0\x09a",
            b"\x30\xff\xff\xff\xff\x01",
        ] {
            let gate = Gate::default();
            let rules = Rules { level: 4, rest_bytes_max: usize::MAX, gate: &gate };
            assert!(pass_in(packet, Vec::new(), rules).await.is_err(), "{packet:?}");
        }
    }

    #[tokio::test]
    async fn of_an_oversized_message_a_word_is_passed_on_with_its_packet_id() {
        let mut packet = vec![0x33, 0xf8, 0x03, 0, 1, b't', 0x12, 0x34];
        packet.extend_from_slice(&[b'x'; 499]);
        packet.extend_from_slice(b"\xc0\0");
        let inner = passed(&packet, 4).await;
        assert_eq!(inner, b"\x32\x12\0\x09oversized\x12\x34499 t\xc0\0");
        let inner = passed(&packet, 5).await;
        assert_eq!(inner, b"\x32\x13\0\x09oversized\x12\x34\x00499 t\xc0\0");
    }

    #[test]
    fn filters_fit_topics_as_mqtt_says() {
        for (filter, topic) in [
            ("设备/+/t", "设备/1/t"),
            ("#", "a/b"),
            ("a/#", "a"),
            ("a/+", "a/"),
            ("$share/g/a/+", "a/b"),
            ("$x/#", "$x/1"),
        ] {
            assert!(fits(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("a", "a/b"),
            ("a/b", "a"),
            ("#", "$x"),
            ("+/1", "$x/1"),
        ] {
            assert!(!fits(filter, topic), "{filter} {topic}");
        }
    }
}
