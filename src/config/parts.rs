//! What can be told of a configuration whatever errors it has: where the rules are that are to be
//! checked, and what they may name.

use super::{GatewayConfig, default_gateway, read_gateway};
use crate::engine::types::diagnostic::{Report, Source};
use crate::engine::types::document::{Place, read_recovered};
use crate::io::upstream::UpstreamConfig;

/// A part of a configuration.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Where its files are.
    pub gateway: GatewayConfig,
    /// Names of the upstreams; none where they cannot be told.
    pub upstreams: Vec<String>,
}

/// Reads a file that has errors, which were told.
pub(super) fn read(source: &Source) -> Parts {
    let place = Place { source, report: &Report::default() };
    let (table, whole) = read_recovered(place, |table| {
        let gateway = table.table("gateway", |entry| Some(read_gateway(entry)));
        let names = table.tables("upstream", |entry| Some(entry.optional::<String>("name")));
        let own = || vec![UpstreamConfig::own_desk().name];
        let upstreams = if table.has("upstream") {
            names.into_iter().collect::<Option<Vec<String>>>().unwrap_or_default()
        } else {
            own()
        };
        Parts { gateway: gateway.unwrap_or_else(default_gateway), upstreams }
    });
    // A table may be missing because of a mistake in its head.
    if whole { table } else { Parts { upstreams: Vec::new(), ..table } }
}
