//! What a person at a terminal sees: colour only there, and tables that fit.

use std::io::IsTerminal;

/// True when errors may be coloured.
pub fn colour_on_stderr() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A table with a head and rows, columns padded to their widest cell; Chinese counts double.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
        cells.chain(head.get(column).map(|cell| width(cell))).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width_of).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, wanted) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wanted.saturating_sub(width(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns that a text takes on a terminal: East Asian wide characters take two.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

/// The beginning of a text that is wider than `most` columns, with `…` for the rest.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        if width(&kept) + width(c.encode_utf8(&mut [0; 4])) + 1 > most {
            break;
        }
        kept.push(c);
    }
    kept + "…"
}

/// The wide ranges of Unicode Standard Annex 11 that occur in device names and texts.
fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe4f | 0xff00..=0xff60
        | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}

#[cfg(test)]
mod tests {
    use super::{cut, table};

    #[test]
    fn a_text_that_is_too_wide_is_cut_between_characters() {
        assert_eq!(cut("冷柜温度", 8), "冷柜温度");
        assert_eq!(cut("冷柜温度", 6), "冷柜…");
    }

    #[test]
    fn columns_line_up_under_chinese_cells() {
        let rows =
            [vec!["冷柜-3".to_owned(), "a".to_owned()], vec!["fz-1".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["device", "x"], &rows), "device  x\n冷柜-3  a\nfz-1    b\n");
    }
}
