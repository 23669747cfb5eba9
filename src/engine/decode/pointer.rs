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

    pub fn push_index(&mut self, index: usize) {
        self.push(&index.to_string());
    }

    pub fn pop(&mut self) {
        if let Some(start) = self.starts.pop() {
            self.text.truncate(if self.starts.is_empty() { 0 } else { start - 1 });
        }
    }

    pub fn name(&self) -> &str {
        &self.text
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

    /// True when `path` is the place; with what `*` stood for.
    pub(super) fn matches<'p>(&self, path: &'p Path) -> Option<Option<&'p str>> {
        let Some(any) = self.any else {
            return (self.path == *path).then_some(None);
        };
        let levels = self.path.starts.len();
        let fits = path.starts.len() == levels
            && (0..levels).all(|at| at == any || self.path.token(at) == path.token(at));
        fits.then(|| path.token(any))
    }

    /// True when `path` is the place or below it; below the whole family for a pointer with `*`.
    pub(super) fn covers(&self, path: &Path) -> bool {
        let levels = self.any.unwrap_or(self.path.starts.len());
        path.starts.len() >= levels
            && (0..levels).all(|at| self.path.token(at) == path.token(at))
            && levels > 0
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

    fn path(keys: &[&str]) -> Path {
        let mut path = Path::default();
        keys.iter().for_each(|key| path.push(key));
        path
    }

    #[test]
    fn a_key_with_a_dot_is_not_two_keys() {
        let pointer = Pointer::parse("/a/b").expect("a pointer");
        assert!(pointer.matches(&path(&["a", "b"])).is_some());
        assert!(pointer.matches(&path(&["a.b"])).is_none());
        let pointer = Pointer::parse("/m~1s/~0").expect("a pointer");
        assert!(pointer.matches(&path(&["m/s", "~"])).is_some());
    }

    #[test]
    fn a_star_stands_for_one_key() {
        let pointer = Pointer::parse("/params/*/value").expect("a pointer");
        assert_eq!(pointer.matches(&path(&["params", "温度", "value"])), Some(Some("温度")));
        assert_eq!(pointer.matches(&path(&["params", "value"])), None);
        assert!(pointer.covers(&path(&["params", "温度", "time"])));
        assert!(!pointer.covers(&path(&["id"])));
    }

    #[test]
    fn a_path_forgets_what_was_pushed() {
        let mut there = path(&["a"]);
        there.push_index(12);
        assert_eq!(there.name(), "a.12");
        there.pop();
        there.pop();
        assert_eq!(there, Path::default());
        assert_eq!(Pointer::parse("a"), None);
    }
}
