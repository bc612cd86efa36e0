//! Where rows come from: the tables of a PostgreSQL database, all of them as they were at one moment.
//!
//! A [`Snapshot`] is one read-only transaction on one connection (`server.rs`), or, for test cases, files that stand
//! for the tables (`given.rs`). Rows are JSON as the server writes it, so that nothing of a value is lost.

use arrow::datatypes::DataType;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::contract::{Database, DatabasePlace};
use crate::error::{Error, Place, Result};
use crate::run::Inputs;

mod catalog;
mod config;
mod fault;
mod given;
mod passfile;
mod server;
mod tls;
mod types;

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// `<schema>.<table>`, as they stand in the catalog.
    pub name: String,
    /// Its place, without user and password.
    pub uri: String,
    /// In the database's order.
    pub columns: Vec<RelationColumn>,
    /// The columns that tell its rows apart; none when nothing says which.
    pub key: Option<Vec<String>>,
    /// What reads it, in SQL or as a file's name.
    from: String,
    is_readable: bool,
}

/// A column of a database's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    /// As it stands in the catalog.
    pub name: String,
    /// The type as the database writes it, such as `numeric(10,2)`.
    pub type_name: String,
    /// The type that holds its values in the lake.
    pub data_type: DataType,
}

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    /// The row as a JSON object.
    pub payload: Bytes,
    /// The key's columns as a JSON object; none where the table has no key.
    pub key: Option<Bytes>,
}

/// The tables of a database at one moment.
pub struct Snapshot {
    origin: Origin,
    relations: Vec<Relation>,
}

enum Origin {
    Server(server::Server),
    Given(std::path::PathBuf),
}

impl Snapshot {
    /// Takes a snapshot; a connection that is refused or breaks is tried again for some seconds.
    ///
    /// # Errors
    /// When the URL is wrong, the server cannot be reached or refuses, or its catalog cannot be read.
    pub async fn open(database: &Database, inputs: &Inputs) -> Result<Self> {
        let (origin, relations) = match &database.place {
            DatabasePlace::Given { path } => {
                let folder = std::path::Path::new(&inputs.data).join(path);
                let relations = given::relations(&folder)?;
                (Origin::Given(folder), relations)
            }
            DatabasePlace::Server { url, password_variable } => {
                let url = url.resolve(&inputs.variables)?;
                let config = config::Connection::new(&url, password_variable.as_deref(), &inputs.variables)?;
                let (server, relations) = server::Server::open(config, |relation| database.takes(relation)).await?;
                (Origin::Server(server), relations)
            }
        };
        Ok(Self { origin, relations })
    }

    /// All tables of the database, sorted by name, those that the source does not take too.
    pub fn tables(&self) -> &[Relation] {
        &self.relations
    }

    /// The rows of a table, in no order. One table is read at a time, to its end or not.
    ///
    /// # Errors
    /// When the table cannot be read; the stream's errors tell that the connection broke.
    pub async fn read(&self, relation: &Relation) -> Result<BoxStream<'static, Result<Row>>> {
        if !relation.is_readable {
            return Err(Error::failed(format!("{}: no right to read the table", relation.uri))
                .hint(format!("as its owner: GRANT SELECT ON {} TO …", relation.from)));
        }
        match &self.origin {
            Origin::Server(server) => server.read(relation).await,
            Origin::Given(folder) => given::read(folder, relation).at(&relation.name),
        }
    }

    /// Ends the transaction.
    pub async fn close(self) {
        if let Origin::Server(server) = self.origin {
            server.close().await;
        }
    }
}
