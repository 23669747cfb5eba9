//! Titles and advice: templates over the metrics and the device.

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior};

use super::draft::Evidence;
use crate::engine::types::document::Scalar;
use crate::engine::types::message::Value;
use crate::engine::types::text::{cut_bytes, one_line};

/// Longest text that a template may make, in bytes.
const RENDERED_BYTES_MAX: usize = 4_096;

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateFault {
    /// In the words of the template engine.
    pub message: String,
}

fn environment<'t>() -> Environment<'t> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("round", minijinja::filters::round);
    environment.add_filter("upper", minijinja::filters::upper);
    environment.add_filter("lower", minijinja::filters::lower);
    environment.add_filter("default", minijinja::filters::default);
    environment
}

/// Checks the syntax and the filters of a template; the metrics it names cannot be known ahead.
///
/// # Errors
/// Says what is wrong.
pub fn check(template: &str) -> Result<(), TemplateFault> {
    let mut environment = environment();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    match environment.render_str(template, ()) {
        Ok(_) => Ok(()),
        Err(error) if is_slip(error.kind()) => Err(fault(&error)),
        Err(_) => Ok(()),
    }
}

/// True for mistakes of the template itself, whatever the values are.
fn is_slip(kind: minijinja::ErrorKind) -> bool {
    use minijinja::ErrorKind::{SyntaxError, UnknownFilter, UnknownFunction, UnknownTest};
    matches!(kind, SyntaxError | UnknownFilter | UnknownFunction | UnknownTest)
}

/// Renders a template on one fault.
///
/// # Errors
/// A metric that has no value, or a template that does not fit the values.
pub(super) fn render(template: &str, evidence: &Evidence<'_>) -> Result<String, TemplateFault> {
    let mut names: BTreeMap<&str, minijinja::Value> = BTreeMap::new();
    for decided in &evidence.values {
        names.insert(&decided.name, plain(&decided.value));
    }
    let all = names.clone();
    let device = [
        ("id", evidence.device.id.as_str()),
        ("class", evidence.device.class.as_str()),
        ("site", evidence.device.site.as_str()),
        ("region", evidence.device.region.as_str()),
        ("customer", evidence.device.customer.as_str()),
    ];
    let device = device.map(|(name, text)| (name, minijinja::Value::from(one_line(text))));
    names.insert("device", minijinja::Value::from_pairs(device));
    names.insert("m", minijinja::Value::from_pairs(all));
    names.insert("rule", minijinja::Value::from(evidence.rule.id.as_str()));
    names.insert("severity", minijinja::Value::from(evidence.rule.severity.word()));
    let params = evidence.rule.params.iter();
    let params = params.map(|(name, scalar)| (name.as_str(), scalar_value(scalar)));
    names.insert("params", minijinja::Value::from_pairs(params));
    let text = environment().render_str(template, &names).map_err(|error| fault(&error))?;
    Ok(cut_bytes(&text, RENDERED_BYTES_MAX).to_owned())
}

fn plain(value: &Value) -> minijinja::Value {
    match value {
        Value::Bool(flag) => minijinja::Value::from(*flag),
        Value::Int(number) => minijinja::Value::from(*number),
        Value::Float(number) => minijinja::Value::from(*number),
        Value::Text(text) => minijinja::Value::from(one_line(text)),
    }
}

fn scalar_value(scalar: &Scalar) -> minijinja::Value {
    match scalar {
        Scalar::Bool(flag) => minijinja::Value::from(*flag),
        Scalar::Int(number) => minijinja::Value::from(*number),
        Scalar::Float(number) => minijinja::Value::from(*number),
        Scalar::Text(text) => minijinja::Value::from(text.as_str()),
    }
}

fn fault(error: &minijinja::Error) -> TemplateFault {
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateFault { message: format!("{}{detail}", error.kind()) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_template_with_a_slip_is_refused_and_one_with_unknown_metrics_is_not() {
        assert!(check("冷柜温度 {{ temp_c | round(1) }} °C {{ device.id }}").is_ok());
        assert!(check("{{ temp_c").is_err());
        assert!(check("{{ temp_c | runde }}").is_err());
        assert!(check("{% for x in range(9) %}").is_err());
    }
}
