//! Where tables are: a file or a schema, and the copies beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use crate::database::{Db, DbPool, postgres, query, query_text, sqlite};
use crate::tables::TablesError;

/// The place of one set of tables.
#[derive(Clone)]
pub(crate) enum Location {
    /// A SQLite file.
    File(PathBuf),
    /// A schema of a Postgres database.
    Schema {
        server: Arc<PgConnectOptions>,
        schema: String,
    },
}

impl fmt::Display for Location {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Schema { server, schema } => write!(
                f,
                "schema {schema} of postgres://{}:{}/{}",
                server.get_host(),
                server.get_port(),
                server.get_database().unwrap_or(server.get_username())
            ),
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

impl Location {
    /// The place of a copy with that name beside this one: on the same disk, or in the same database. Who has room
    /// for the tables there mostly has it twice.
    pub(crate) fn copy(&self, name: &str) -> Self {
        match self {
            Self::File(path) => Self::File(with_suffix(path, &format!(".{name}"))),
            Self::Schema { server, schema } => Self::Schema {
                server: server.clone(),
                schema: format!("{schema}_{}", name.replace(['-', '.'], "_")),
            },
        }
    }

    /// The names of the copies beside this one that begin with one of `prefixes`.
    pub(crate) async fn copies(&self, prefixes: &[&str]) -> Result<Vec<String>, sqlx::Error> {
        let mut names = Vec::new();
        match self {
            Self::File(path) => {
                let own = format!("{}.", path.file_name().unwrap_or_default().to_string_lossy());
                let folder = match path.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    _ => Path::new("."),
                };
                for file in std::fs::read_dir(folder)? {
                    let file = file?.file_name();
                    // A copy whose file is gone may still have left its lock behind.
                    let name = file.to_string_lossy().strip_prefix(&own).map(|name| {
                        let name = name.strip_suffix(".lock").unwrap_or(name);
                        name.to_owned()
                    });
                    names.extend(name.filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm")));
                }
            }
            Self::Schema { server, schema } => {
                let mut connection = server.connect().await?;
                let rows = query("SELECT nspname::text FROM pg_namespace WHERE starts_with(nspname, $1)")
                    .bind(format!("{schema}_"))
                    .fetch_all(&mut Db::Postgres(&mut connection))
                    .await?;
                connection.close().await?;
                for row in &rows {
                    let name: String = row.try_get(0)?;
                    // Back to the spelling that `copy` was given.
                    names.extend(name.get(schema.len() + 1..).map(|name| name.replace('_', "-")));
                }
            }
        }
        names.retain(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Gives the tables another place beside the live ones, in the place of what is there. Nobody may have either open.
    pub(crate) async fn rename_to(&self, other: &Self) -> Result<(), sqlx::Error> {
        other.remove().await?;
        match (self, other) {
            (Self::File(from), Self::File(to)) => Ok(std::fs::rename(from, to)?),
            (Self::Schema { server, schema: from }, Self::Schema { schema: to, .. }) => {
                let mut connection = server.connect().await?;
                query_text(format!("ALTER SCHEMA {from} RENAME TO {to}"))
                    .execute(&mut Db::Postgres(&mut connection))
                    .await?;
                connection.close().await
            }
            _ => Err(sqlx::Error::Configuration("a file is no schema".into())),
        }
    }

    /// Makes the tables where they are missing and brings them up to date.
    pub(crate) async fn migrate(&self) -> Result<(), TablesError> {
        let migrated = match self {
            Self::File(path) => {
                let connection = sqlite::first_connection(&sqlite::options(path)).await;
                let mut connection = connection.map_err(|source| self.unopened(source))?;
                let migrated = sqlite::migrate(&mut connection).await;
                connection.close().await.map_err(|source| self.unopened(source))?;
                migrated
            }
            Self::Schema { server, schema } => {
                let options = postgres::within(server, schema);
                // A server that is not there is told apart from tables that cannot be brought up to date.
                let connection = options.connect().await.map_err(|source| self.unopened(source))?;
                connection.close().await.map_err(|source| self.unopened(source))?;
                postgres::migrate(&options, schema).await
            }
        };
        migrated.map_err(|source| TablesError::of_migration(self, source))
    }

    /// The connection that folds, and those that read.
    pub(crate) async fn connect(&self) -> Result<(DbPool, DbPool), TablesError> {
        let pools = match self {
            Self::File(path) => {
                let options = sqlite::options(path);
                let readers = sqlite::readers(options.clone()).await;
                readers.map(|readers| (sqlite::writer(options), readers))
            }
            Self::Schema { server, schema } => {
                let options = postgres::within(server, schema);
                async {
                    Ok((
                        postgres::writer(options.clone()).await?,
                        postgres::readers(options).await?,
                    ))
                }
                .await
            }
        };
        pools.map_err(|source| self.unopened(source))
    }

    fn unopened(&self, source: sqlx::Error) -> TablesError {
        TablesError::Open {
            tables: self.to_string(),
            source,
        }
    }

    /// Removes the tables, if there are any. Nobody may have them open.
    pub(crate) async fn remove(&self) -> Result<(), sqlx::Error> {
        match self {
            Self::File(path) => {
                for suffix in ["", "-journal", "-wal", "-shm"] {
                    match std::fs::remove_file(with_suffix(path, suffix)) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            return Err(error.into());
                        }
                        _ => {}
                    }
                }
            }
            Self::Schema { server, schema } => {
                let mut connection = server.connect().await?;
                query_text(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))
                    .execute(&mut Db::Postgres(&mut connection))
                    .await?;
                connection.close().await?;
            }
        }
        Ok(())
    }
}

/// `path` with `suffix` at its end, whatever extension it has.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
