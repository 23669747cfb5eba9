//! Places in JSON: pointers (RFC 6901) with two additions: `*` is every member of an array, and
//! `[name=Key]` every member whose `name` is `Key`.

use serde_json::Value as Json;

/// A place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Member(String),
    Every,
    Where { field: String, value: String },
}

impl Place {
    /// Reads `/a/0/[name=Key]/values/*`.
    pub fn parse(text: &str) -> Result<Place, String> {
        if text.is_empty() || text == "/" {
            return Ok(Place { segments: Vec::new() });
        }
        let rest = text
            .strip_prefix('/')
            .ok_or_else(|| format!("\"{text}\" is not a place in JSON; it begins with `/`"))?;
        let segments = split(rest).into_iter().map(|part| segment(&part)).collect();
        Ok(Place { segments })
    }

    /// Every value there.
    pub fn all<'j>(&self, json: &'j Json) -> Vec<&'j Json> {
        let mut found = vec![json];
        for segment in &self.segments {
            found = found.into_iter().flat_map(|value| step(segment, value)).collect();
        }
        found
    }

    /// The first value there that is not null.
    pub fn first<'j>(&self, json: &'j Json) -> Option<&'j Json> {
        self.all(json).into_iter().find(|value| !value.is_null())
    }
}

/// Parts between slashes that do not stand in brackets.
fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut inside) = (Vec::new(), String::new(), false);
    for c in text.chars() {
        match c {
            '[' if part.is_empty() => inside = true,
            ']' => inside = false,
            '/' if !inside => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts
}

fn segment(part: &str) -> Segment {
    if part == "*" {
        return Segment::Every;
    }
    let inner = part.strip_prefix('[').and_then(|part| part.strip_suffix(']'));
    match inner.and_then(|inner| inner.split_once('=')) {
        Some((field, value)) => Segment::Where { field: field.to_owned(), value: value.to_owned() },
        None => Segment::Member(part.replace("~1", "/").replace("~0", "~")),
    }
}

fn step<'j>(segment: &Segment, value: &'j Json) -> Vec<&'j Json> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    match segment {
        Segment::Member(name) => {
            let member = value.get(name);
            let item = || name.parse::<usize>().ok().and_then(|index| items.get(index));
            member.or_else(item).into_iter().collect()
        }
        Segment::Every => match value.as_object() {
            Some(members) => members.values().collect(),
            None => items.iter().collect(),
        },
        Segment::Where { field, value } => {
            let fits = |item: &&Json| item.get(field).and_then(plain).as_ref() == Some(value);
            items.iter().filter(fits).collect()
        }
    }
}

/// A scalar as text; an id is a text in some answers and a number in others.
pub(super) fn plain(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(flag) => Some(flag.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_go_into_arrays_by_number_by_all_and_by_a_field() {
        let json = json!({"items": [
            {"id": 7, "cf": [{"name": "Key/1", "values": ["a", "b"]}, {"name": "x", "values": ["c"]}]}
        ]});
        for (place, found) in [
            ("/items/0/id", vec!["7"]),
            ("/items/*/cf/[name=Key/1]/values/*", vec!["a", "b"]),
            ("/items/0/cf/*/values/0", vec!["a", "c"]),
            ("/items/1/id", vec![]),
            ("/nowhere/0", vec![]),
        ] {
            let place = Place::parse(place).expect("a place");
            let texts: Vec<_> = place.all(&json).into_iter().filter_map(plain).collect();
            assert_eq!(texts, found);
        }
        assert!(Place::parse("items/0").is_err());
    }
}
