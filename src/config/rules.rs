//! The rule files of a configuration, compiled as one set.

use std::path::{Component, Path, PathBuf};

use super::{Config, files};
use crate::engine::policy::{self, Policy};
use crate::engine::types::diagnostic::{Diagnostic, Report, Source};
use crate::io::rule_history::RuleText;

/// A set that has errors, and is refused whole.
#[derive(Debug)]
pub struct Refused {
    /// The files.
    pub sources: Vec<Source>,
    /// What is wrong with them.
    pub diagnostics: Vec<Diagnostic>,
}

/// A set that was accepted, and the files that it was made of.
#[derive(Debug)]
pub struct RuleSet {
    /// What they say.
    pub policy: Policy,
    /// The files.
    pub sources: Vec<Source>,
}

/// Compiles every rule file below `paths`, with the register of devices.
///
/// # Errors
/// A file that cannot be read; the inner one where the files have errors.
pub fn load(config: &Config, paths: &[PathBuf]) -> anyhow::Result<Result<RuleSet, Refused>> {
    Ok(compile(config, files::read_all(&config.with_register(paths))?))
}

/// Compiles files that were read.
///
/// # Errors
/// Files that have errors.
pub fn compile(config: &Config, sources: Vec<Source>) -> Result<RuleSet, Refused> {
    let upstreams = config.upstream_names();
    let names: Vec<&str> = upstreams.iter().map(String::as_str).collect();
    let report = Report::default();
    match policy::compile(&sources, &names, &report) {
        Some(policy) => Ok(RuleSet { policy, sources }),
        None => Err(Refused { sources, diagnostics: report.into_sorted() }),
    }
}

/// The files under the names that the history of accepted sets has for them: the last part of the
/// configured path, and what follows below it. An installation that is moved keeps its history.
pub fn named(paths: &[PathBuf], sources: &[Source]) -> Vec<RuleText> {
    let roots = root_names(paths);
    let name = |file: &str| {
        let below = roots.iter().find_map(|(name, root)| {
            let rest = Path::new(file).strip_prefix(root).ok()?;
            let is_root = rest.as_os_str().is_empty();
            Some(if is_root { name.clone() } else { format!("{name}/{}", rest.display()) })
        });
        below.unwrap_or_else(|| file.to_owned())
    };
    let file = |source: &Source| RuleText { name: name(&source.file), text: source.text.clone() };
    sources.iter().map(file).collect()
}

/// Where the file of this name lies; `None` when no configured path is meant.
pub fn path_of(paths: &[PathBuf], name: &str) -> Option<PathBuf> {
    let (root, path) = root_names(paths).into_iter().find(|(root, _)| {
        name == root || name.strip_prefix(root.as_str()).is_some_and(|rest| rest.starts_with('/'))
    })?;
    let rest = Path::new(name.strip_prefix(root.as_str())?.trim_start_matches('/'));
    let inside = rest.components().all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| if rest.as_os_str().is_empty() { path } else { path.join(rest) })
}

/// A name for each configured path; two that end alike are told apart by a number.
fn root_names(paths: &[PathBuf]) -> Vec<(String, PathBuf)> {
    let mut roots: Vec<(String, PathBuf)> = Vec::new();
    for path in paths {
        let last = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let last = last.unwrap_or_else(|| "rules".to_owned());
        let alike = roots.iter().filter(|(_, known)| known.file_name() == path.file_name()).count();
        let name = if alike == 0 { last } else { format!("{last}#{}", alike + 1) };
        roots.push((name, path.clone()));
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_lead_back_to_their_paths_and_never_out_of_the_folders() {
        let paths: Vec<PathBuf> = ["/etc/faultgate/rules", "/srv/规则", "/opt/rules", "one.toml"]
            .map(Into::into)
            .to_vec();
        for (file, name) in [
            ("/etc/faultgate/rules/a/b.toml", "rules/a/b.toml"),
            ("/srv/规则/冷链.toml", "规则/冷链.toml"),
            ("/opt/rules/x.toml", "rules#2/x.toml"),
            ("one.toml", "one.toml"),
        ] {
            let source = Source { file: file.into(), text: String::new() };
            assert_eq!(named(&paths, &[source])[0].name, name);
            assert_eq!(path_of(&paths, name), Some(PathBuf::from(file)));
        }
        for stranger in ["rules/../../passwd", "other/a.toml", "rulesx/a.toml"] {
            assert_eq!(path_of(&paths, stranger), None, "{stranger}");
        }
    }
}
