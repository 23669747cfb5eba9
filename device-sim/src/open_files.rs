//! The limit of open files: every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files of the process beside its connections.
const BESIDE: u64 = 64;

/// More connections than the system lets this process open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{wanted} open files are needed and {allowed} allowed: raise the limit with \
     `ulimit -n {wanted}` (systemd: LimitNOFILE={wanted}), or give fewer devices a presence topic"
)]
pub struct OpenFilesError {
    /// How many are needed.
    pub wanted: u64,
    /// How many the system allows at most.
    pub allowed: u64,
}

/// Raises the soft limit where `connections` need it.
///
/// # Errors
/// A hard limit below them.
pub fn allow(connections: usize) -> Result<(), OpenFilesError> {
    let wanted = connections as u64 + BESIDE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(wanted), maximum };
    let refused = OpenFilesError { wanted, allowed: maximum.or(current).unwrap_or(0) };
    if maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(refused);
    }
    setrlimit(Resource::Nofile, raised).map_err(|_| refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_devices_than_the_system_allows_are_refused_with_the_remedy() {
        let Some(maximum) = getrlimit(Resource::Nofile).maximum else {
            println!("skipped: this system has no limit of open files");
            return;
        };
        let told = allow(maximum as usize).expect_err("64 more than allowed").to_string();
        assert!(told.contains(&format!("ulimit -n {}", maximum + BESIDE)), "{told}");
        assert_eq!(allow(1), Ok(()));
    }
}
