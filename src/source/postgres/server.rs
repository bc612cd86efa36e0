//! A snapshot of a server: one read-only transaction on one connection.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tokio_postgres::binary_copy::{BinaryCopyOutRow, BinaryCopyOutStream};
use tokio_postgres::types::Type;

use super::catalog::{quoted, relations};
use super::config::Connection;
use super::fault::failure;
use super::{Relation, Row, tls};
use crate::error::{Place, Result};
use crate::retry::Retry;

/// Values are written in one form whatever the server's settings, hidden rows are an error and not missing, and the
/// transaction sees one moment.
const BEGIN: &str = "
    SET datestyle = 'ISO'; SET timezone = 'UTC'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1;
    SET bytea_output = 'hex'; SET xmlbinary = 'base64'; SET row_security = off; SET search_path = pg_catalog;
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
    BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A server that starts, or that has no connection left, is asked again before anything is read.
const OPEN: Retry = Retry { times: 4, wait: Duration::from_millis(500) };

/// A connection with its transaction.
pub(super) struct Server {
    client: Client,
    connection: JoinHandle<()>,
}

impl Server {
    /// Connects, begins the transaction, reads the catalog and locks the tables that are taken against changes of their
    /// shape: those would be seen although the rows are seen as they were.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn open(connection: Connection, takes: impl Fn(&str) -> bool) -> Result<(Self, Vec<Relation>)> {
        OPEN.run(async || Self::try_open(&connection, &takes).await).await
    }

    async fn try_open(connection: &Connection, takes: &impl Fn(&str) -> bool) -> Result<(Self, Vec<Relation>)> {
        let place = &connection.place;
        let told = |error: tokio_postgres::Error| failure(place, &error);
        let tls = tls::connector(connection).at(place)?;
        let (client, driver) = connection.config.connect(tls).await.map_err(told)?;
        // An error of the connection is told by the query that it breaks.
        let driver = tokio::spawn(async move { drop(driver.await) });
        let server = Self { client, connection: driver };
        server.client.batch_execute(BEGIN).await.map_err(told)?;
        let relations = relations(&server.client, place).await.map_err(told)?;
        let taken: Vec<&str> = relations
            .iter()
            .filter(|relation| relation.is_readable && takes(&relation.name))
            .map(|relation| relation.from.as_str())
            .collect();
        if !taken.is_empty() {
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", taken.join(", "));
            server.client.batch_execute(&lock).await.map_err(told)?;
        }
        server.client.batch_execute("SAVEPOINT medalha").await.map_err(told)?;
        Ok((server, relations))
    }

    /// The rows of a table.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn read(&self, relation: &Relation) -> Result<BoxStream<'static, Result<Row>>> {
        let place = relation.uri.clone();
        let told = move |error: tokio_postgres::Error| failure(&place, &error);
        // A table that could not be read must not have ended the transaction for those after it.
        self.client.batch_execute("ROLLBACK TO SAVEPOINT medalha").await.map_err(&told)?;
        let rows = self.client.copy_out(&copy(relation)).await.map_err(&told)?;
        let types = if relation.key.is_some() { vec![Type::BYTEA; 2] } else { vec![Type::BYTEA] };
        let rows = BinaryCopyOutStream::new(rows, &types);
        Ok(rows.and_then(|row| async move { to_row(&row) }).map_err(told).boxed())
    }

    /// Ends the transaction and the connection.
    pub async fn close(self) {
        drop(self.client);
        // Nothing was written: how the connection ends is of no account.
        drop(self.connection.await);
    }
}

/// The rows as JSON, each with its key. `r.*` is the row even where a column is named `r`; so with `k`.
fn copy(relation: &Relation) -> String {
    let key = relation.key.as_ref().map(|key| {
        let columns: Vec<String> = key.iter().map(|name| format!("r.{}", quoted(name))).collect();
        format!(", (SELECT row_to_json(k.*)::text FROM (SELECT {}) AS k)", columns.join(", "))
    });
    let (key, from) = (key.unwrap_or_default(), &relation.from);
    format!("COPY (SELECT row_to_json(r.*)::text{key} FROM {from} AS r) TO STDOUT (FORMAT binary)")
}

fn to_row(row: &BinaryCopyOutRow) -> std::result::Result<Row, tokio_postgres::Error> {
    let payload: &[u8] = row.try_get(0)?;
    let key: Option<&[u8]> = row.try_get(1).ok();
    Ok(Row { payload: payload.to_vec().into(), key: key.map(|key| key.to_vec().into()) })
}
