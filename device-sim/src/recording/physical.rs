//! Lines of a file, each with its number and none longer than a bound.

use std::io::BufRead;

/// Longest line that is kept, in bytes.
pub(super) const LINE_BYTES_MAX: usize = 4 << 20;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    /// `None` when it was longer than [`LINE_BYTES_MAX`].
    pub text: Option<Vec<u8>>,
}

/// Reads lines one by one.
pub(super) struct Lines {
    reader: Box<dyn BufRead + Send>,
    number: usize,
    /// After the end, or after an error: nothing more is read.
    is_over: bool,
}

impl Lines {
    pub fn new(reader: Box<dyn BufRead + Send>) -> Lines {
        Lines { reader, number: 0, is_over: false }
    }

    fn read(&mut self) -> std::io::Result<Option<Line>> {
        let mut text = Vec::new();
        let mut is_too_long = false;
        let mut has_any = false;
        loop {
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                break;
            }
            has_any = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, used) = match end.and_then(|end| bytes.split_at_checked(end)) {
                Some((part, _)) => (part, part.len() + 1),
                None => (bytes, bytes.len()),
            };
            if text.len() + part.len() > LINE_BYTES_MAX {
                is_too_long = true;
                text = Vec::new();
            } else if !is_too_long {
                text.extend_from_slice(part);
            }
            self.reader.consume(used);
            if end.is_some() {
                break;
            }
        }
        if !has_any {
            return Ok(None);
        }
        self.number += 1;
        if text.last() == Some(&b'\r') {
            text.pop();
        }
        Ok(Some(Line { number: self.number, text: (!is_too_long).then_some(text) }))
    }
}

impl Iterator for Lines {
    type Item = std::io::Result<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let read = self.read();
        self.is_over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// What is said of a line that is too long.
pub(super) fn too_long() -> String {
    format!("the line is longer than {} MiB", LINE_BYTES_MAX >> 20)
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_not_kept_and_the_next_has_its_right_number() {
        let mut bytes = b"a\r\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        bytes.extend(b"\n\nb");
        let reader = BufReader::with_capacity(1_000, Cursor::new(bytes));
        let lines: Vec<_> = Lines::new(Box::new(reader)).map(|line| line.expect("read")).collect();
        let line = |number, text: Option<&str>| Line {
            number,
            text: text.map(|text| text.as_bytes().to_vec()),
        };
        let expected = [line(1, Some("a")), line(2, None), line(3, Some("")), line(4, Some("b"))];
        assert_eq!(lines, expected);
    }
}
