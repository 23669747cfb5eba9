//! Where in a JSON document the reading stands: for the name of a metric, and to compare with the
//! pointers (RFC 6901) of a mapping.

/// The levels from the element that is read down to here, kept in one text: `a.b.0`.
#[derive(Debug, Default)]
pub(super) struct Path {
    text: String,
    /// Length of the text before each level, and where the level's own text begins.
    levels: Vec<(usize, usize)>,
    /// Levels and bytes above the element, which count for nothing.
    base: (usize, usize),
}

impl Path {
    /// Goes one level down.
    pub fn push(&mut self, level: &str) {
        let before = self.text.len();
        if before > self.base.1 {
            self.text.push('.');
        }
        self.levels.push((before, self.text.len()));
        self.text.push_str(level);
    }

    /// Goes back up.
    pub fn pop(&mut self) {
        if let Some((before, _)) = self.levels.pop() {
            self.text.truncate(before);
        }
    }

    /// Counts from here on: here is an element. Returns what counted before.
    pub fn rebase(&mut self) -> (usize, usize) {
        std::mem::replace(&mut self.base, (self.levels.len(), self.text.len()))
    }

    /// Counts from where it counted before.
    pub fn restore(&mut self, base: (usize, usize)) {
        self.base = base;
    }

    /// The name of a metric that stands here.
    pub fn name(&self) -> &str {
        self.text.get(self.base.1..).unwrap_or("")
    }

    /// True when `pointer` leads exactly here.
    pub fn is_at(&self, pointer: &str) -> bool {
        self.fits(pointer).is_some()
    }

    /// What `*` in `pointer` stands for (else nothing), when it leads exactly here.
    pub fn fits(&self, pointer: &str) -> Option<&str> {
        let mut tokens = tokens(pointer);
        let mut wild = "";
        for level in self.levels() {
            match tokens.next()? {
                "*" => wild = level,
                token if is_same(token, level) => {}
                _ => return None,
            }
        }
        tokens.next().is_none().then_some(wild)
    }

    /// True at and below what `pointer` leads to, up to its `*`.
    pub fn is_under(&self, pointer: &str) -> bool {
        let mut levels = self.levels();
        tokens(pointer)
            .take_while(|token| *token != "*")
            .all(|token| levels.next().is_some_and(|level| is_same(token, level)))
    }

    fn levels(&self) -> impl Iterator<Item = &str> {
        let levels = self.levels.get(self.base.0..).unwrap_or(&[]);
        levels.iter().enumerate().map(move |(at, (_, from))| {
            let to = levels.get(at + 1).map_or(self.text.len(), |(before, _)| *before);
            self.text.get(*from..to).unwrap_or("")
        })
    }
}

/// The empty pointer is the element itself.
fn tokens(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.split('/').skip(1)
}

fn is_same(token: &str, level: &str) -> bool {
    match token.contains('~') {
        false => token == level,
        true => token.replace("~1", "/").replace("~0", "~") == level,
    }
}
