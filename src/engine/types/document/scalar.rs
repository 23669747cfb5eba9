//! A value of any simple kind.

use toml::Spanned;
use toml::de::DeValue;

use super::{Context, FromToml, wrong_type};

/// A scalar or a flat list as it stands in the file, for parameters and test samples.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number with a point.
    Float(f64),
    /// A text.
    Text(String),
}

impl Scalar {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Scalar::Bool(_) => "true or false",
            Scalar::Int(_) | Scalar::Float(_) => "a number",
            Scalar::Text(_) => "a text",
        }
    }

    /// True when one can stand for the other.
    pub fn is_like(&self, other: &Scalar) -> bool {
        self.kind() == other.kind()
    }
}

impl<'a> FromToml<'a> for Scalar {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let read = value.get_ref();
        if read.is_bool() {
            bool::from_toml(value, context).map(Scalar::Bool)
        } else if read.is_integer() {
            i64::from_toml(value, context).map(Scalar::Int)
        } else if read.is_float() {
            f64::from_toml(value, context).map(Scalar::Float)
        } else if read.is_str() {
            String::from_toml(value, context).map(Scalar::Text)
        } else {
            wrong_type(value, context, "a number, a text, true or false", "");
            None
        }
    }
}
