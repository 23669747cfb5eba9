//! Amounts and sizes, which are written as text.

use rust_decimal::Decimal;
use toml::Spanned;
use toml::de::DeValue;

use super::{Context, FromToml, wrong_type};

/// Money and quantities: decimal text, so that no floating point can touch them.
impl<'a> FromToml<'a> for Decimal {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let Some(text) = value.get_ref().as_str() else {
            wrong_type(value, context, "a decimal number as text", "write it in quotes: \"0.60\"");
            return None;
        };
        let number = Decimal::from_str_exact(text).ok();
        if number.is_none() {
            let message = format!("`{}`: \"{text}\" is not a decimal number", context.name);
            context.place.error(value.span(), "wrong-value", message, "for example \"0.60\"");
        }
        number
    }
}

/// A size such as `256KiB`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl<'a> FromToml<'a> for Bytes {
    fn from_toml(value: &'a Spanned<DeValue<'a>>, context: &Context<'a>) -> Option<Self> {
        let text = String::from_toml(value, context)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits)?;
        let factor = match unit.trim() {
            "B" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let number = number.parse::<u64>().ok();
        let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
        if bytes.is_none() {
            let message = format!("`{}`: \"{text}\" is not a size", context.name);
            let hint = "write a number and B, KiB, MiB or GiB, such as \"256KiB\"";
            context.place.error(value.span(), "wrong-value", message, hint);
        }
        bytes.map(Bytes)
    }
}
