//! What tables a database has: columns with their types, and the columns that tell rows apart.

use std::collections::HashMap;

use tokio_postgres::{Client, Error};

use super::types::{PgType, lake_type};
use super::{Relation, RelationColumn};

/// Ordinary and partitioned tables of all schemas but the system's. A partition is read through its parent; views and
/// foreign tables hold no rows of their own.
const TABLES: &str = "
    SELECT c.oid, n.nspname, c.relname, c.relkind = 'p' AS is_partitioned,
           has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE') AS is_readable
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    ORDER BY n.nspname, c.relname";

const COLUMNS: &str = "
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod,
           pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name
    FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p')
    ORDER BY a.attrelid, a.attnum";

/// The primary key, else the unique index over the fewest columns none of which may be NULL.
const KEYS: &str = "
    SELECT DISTINCT ON (i.indrelid) i.indrelid,
           ARRAY(SELECT a.attname::text
                 FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS names
    FROM pg_catalog.pg_index i
    WHERE i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
      AND (i.indisprimary OR NOT EXISTS (
          SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.place <= i.indnkeyatts AND NOT a.attnotnull))
    ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, i.indexrelid";

const TYPES: &str = "
    SELECT t.oid, CASE WHEN n.nspname = 'pg_catalog' THEN t.typname::text END AS name, t.typtype, t.typbasetype,
           t.typtypmod, CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0::oid END AS element
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace";

/// Reads all tables, sorted by name; `place` is the database's.
pub(super) async fn relations(client: &Client, place: &str) -> Result<Vec<Relation>, Error> {
    let types = types(client).await?;
    let mut columns = columns(client, &types).await?;
    let mut keys = keys(client).await?;
    let mut relations = Vec::new();
    for row in client.query(TABLES, &[]).await? {
        let oid: u32 = row.try_get(0)?;
        let (schema, table): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        // Rows of tables that inherit from it are those of other tables; partitions are its own.
        let only = if row.try_get(3)? { "" } else { "ONLY " };
        let name = format!("{schema}.{table}");
        relations.push(Relation {
            uri: format!("{place}/{name}"),
            name,
            columns: columns.remove(&oid).unwrap_or_default(),
            key: keys.remove(&oid),
            from: format!("{only}{}.{}", quoted(&schema), quoted(&table)),
            is_readable: row.try_get(4)?,
        });
    }
    Ok(relations)
}

/// A name as SQL takes it for nothing else.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn types(client: &Client) -> Result<HashMap<u32, PgType>, Error> {
    let mut types = HashMap::new();
    for row in client.query(TYPES, &[]).await? {
        let kind: i8 = row.try_get(2)?;
        let found = PgType {
            name: row.try_get(1)?,
            kind: char::from(kind.cast_unsigned()),
            base: row.try_get(3)?,
            modifier: row.try_get(4)?,
            element: row.try_get(5)?,
        };
        types.insert(row.try_get(0)?, found);
    }
    Ok(types)
}

async fn columns(client: &Client, types: &HashMap<u32, PgType>) -> Result<HashMap<u32, Vec<RelationColumn>>, Error> {
    let mut columns: HashMap<u32, Vec<RelationColumn>> = HashMap::new();
    for row in client.query(COLUMNS, &[]).await? {
        columns.entry(row.try_get(0)?).or_default().push(RelationColumn {
            name: row.try_get(2)?,
            type_name: row.try_get(5)?,
            data_type: lake_type(types, row.try_get(3)?, row.try_get(4)?),
        });
    }
    Ok(columns)
}

async fn keys(client: &Client) -> Result<HashMap<u32, Vec<String>>, Error> {
    client.query(KEYS, &[]).await?.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
