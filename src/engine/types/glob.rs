//! Selector globs: `*` is any run of characters, `?` is any one.

/// True when `text` matches `pattern` as a whole.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    star = Some((star_p, star_t + 1));
                    p = star_p + 1;
                    t = star_t + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn globs_select_as_operators_expect() {
        for (pattern, text) in
            [("sh-*", "sh-1"), ("*", ""), ("a?c", "a冷c"), ("*柜*", "冷柜-3"), ("a*b*c", "axxbyyc")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("sh-*", "bj-1"), ("?", ""), ("a*b", "abc"), ("fz", "fz-1")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
