//! Secrets: named in the configuration, never in it, and never shown.

use std::fmt;
use std::path::PathBuf;

use crate::engine::types::document::Table;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file; white space at its end does not count.
    File(PathBuf),
    /// In a credential of the service manager (`LoadCredential=`).
    Credential(String),
}

/// Why a secret is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("the environment variable `{0}` is not set")]
    Env(String),
    /// The file cannot be read.
    #[error("{}: cannot be read: {cause}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// There is no folder of credentials.
    #[error("credential `{0}`: not started by systemd with `LoadCredential={0}:...`")]
    Credential(String),
}

impl Secret {
    /// Reads `{ env = "..." }`, `{ file = "..." }` or `{ credential = "..." }`.
    pub fn read(table: &Table<'_>) -> Option<Secret> {
        let env = table.optional::<String>("env").map(Secret::Env);
        let file = table.optional::<String>("file").map(|path| Secret::File(path.into()));
        let credential = table.optional::<String>("credential").map(Secret::Credential);
        let mut given = [env, file, credential].into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(secret), None) => Some(secret),
            _ => {
                let message = "a secret is in one place";
                let hint =
                    "write { env = \"NAME\" }, { file = \"PATH\" } or { credential = \"NAME\" }";
                table.place().error(table.span(), "wrong-value", message, hint);
                None
            }
        }
    }

    /// Fetches the secret.
    ///
    /// # Errors
    /// Says which place has none.
    pub fn resolve(&self) -> Result<String, SecretError> {
        match self {
            Secret::Env(name) => std::env::var(name).map_err(|_| SecretError::Env(name.clone())),
            Secret::File(path) => read(path.clone()),
            Secret::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
                let folder = folder.ok_or_else(|| SecretError::Credential(name.clone()))?;
                read(PathBuf::from(folder).join(name))
            }
        }
    }
}

fn read(path: PathBuf) -> Result<String, SecretError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(cause) => Err(SecretError::File { path, cause }),
    }
}

/// Tells where it is, never what it is.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::Env(name) => write!(out, "env {name}"),
            Secret::File(path) => write!(out, "file {}", path.display()),
            Secret::Credential(name) => write!(out, "credential {name}"),
        }
    }
}
