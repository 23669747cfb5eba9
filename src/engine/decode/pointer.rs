//! Where a decoder stands in a nested payload, and the places that a mapping names.

/// The way from the root to a value: the keys joined by dots, and where each key begins.
///
/// The text alone is a metric's name; with the beginnings, `{"a.b": 1}` and `{"a": {"b": 1}}` are
/// two places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    text: String,
    starts: Vec<usize>,
}

impl Path {
    /// Goes back to the root.
    pub fn clear(&mut self) {
        self.text.clear();
        self.starts.clear();
    }

    pub fn push(&mut self, key: &str) {
        if !self.starts.is_empty() {
            self.text.push('.');
        }
        self.starts.push(self.text.len());
        self.text.push_str(key);
    }

    pub fn pop(&mut self) {
        if let Some(start) = self.starts.pop() {
            self.text.truncate(if self.starts.is_empty() { 0 } else { start - 1 });
        }
    }

    pub fn name(&self) -> &str {
        &self.text
    }

    pub fn is_root(&self) -> bool {
        self.starts.is_empty()
    }

    fn token(&self, at: usize) -> Option<&str> {
        let start = *self.starts.get(at)?;
        let end = self.starts.get(at + 1).map_or(self.text.len(), |next| next - 1);
        self.text.get(start..end)
    }
}

/// A JSON pointer (RFC 6901), of which one level may be `*`: any key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    path: Path,
    any: Option<usize>,
}

impl Pointer {
    /// Reads a pointer: empty for the whole document, else it begins with `/`.
    pub fn parse(text: &str) -> Option<Pointer> {
        let mut pointer = Pointer::default();
        let Some(rest) = text.strip_prefix('/') else {
            return text.is_empty().then_some(pointer);
        };
        for (level, token) in rest.split('/').enumerate() {
            if token == "*" && pointer.any.is_none() {
                pointer.any = Some(level);
            }
            pointer.path.push(&token.replace("~1", "/").replace("~0", "~"));
        }
        Some(pointer)
    }

    /// The place `tail` below every member of the array at `self`.
    pub(super) fn below_members(&self, tail: &Pointer) -> Pointer {
        let mut path = self.path.clone();
        path.push("*");
        for at in 0..tail.path.starts.len() {
            path.push(tail.path.token(at).unwrap_or(""));
        }
        Pointer { path, any: Some(self.path.starts.len()) }
    }

    /// How many keys lead to the place.
    pub(super) fn levels(&self) -> usize {
        self.path.starts.len()
    }

    /// How many keys lead to the place, or to the family of places where one key may be any.
    pub(super) fn fixed_levels(&self) -> usize {
        self.any.unwrap_or(self.levels())
    }

    /// True when `key` leads on to the place, after `level` keys that did.
    pub(super) fn fits(&self, level: usize, key: &str) -> bool {
        self.path.token(level).is_some_and(|token| token == key || self.any == Some(level))
    }

    /// What the key that may be any is on the way `path` to a value with this last `key`.
    pub(super) fn star<'p>(&self, path: &'p Path, key: &'p str) -> Option<&'p str> {
        self.any.map(|any| path.token(any).unwrap_or(key))
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for at in 0..self.path.starts.len() {
            let token = self.path.token(at).unwrap_or("");
            write!(out, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).expect("a pointer")
    }

    fn leads(pointer: &Pointer, keys: &[&str]) -> bool {
        let fits = keys.iter().enumerate().all(|(level, key)| pointer.fits(level, key));
        fits && pointer.levels() == keys.len()
    }

    #[test]
    fn a_key_with_a_dot_is_not_two_keys() {
        assert!(leads(&pointer("/a/b"), &["a", "b"]));
        assert!(!leads(&pointer("/a/b"), &["a.b"]));
        assert!(!leads(&pointer("/a/b"), &["a", "b", "c"]));
        assert!(leads(&pointer("/m~1s/~0"), &["m/s", "~"]));
    }

    #[test]
    fn a_star_stands_for_one_key() {
        let all = pointer("/params/*/value");
        assert!(leads(&all, &["params", "温度", "value"]));
        assert!(!leads(&all, &["params", "value"]));
        assert_eq!((all.fixed_levels(), pointer("/a/b").fixed_levels()), (1, 2));
        let mut path = Path::default();
        path.push("params");
        assert_eq!(pointer("/params/*").star(&path, "温度"), Some("温度"));
        path.push("温度");
        assert_eq!(all.star(&path, "value"), Some("温度"));
        assert_eq!(pointer("/params/a").star(&path, "value"), None);
    }

    #[test]
    fn a_path_forgets_what_was_pushed() {
        let mut there = Path::default();
        there.push("a");
        there.push("12");
        assert_eq!(there.name(), "a.12");
        there.pop();
        there.pop();
        assert_eq!(there, Path::default());
        assert_eq!(Pointer::parse("a"), None);
    }
}
