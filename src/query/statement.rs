//! One statement of SQL that only reads.

use std::collections::BTreeSet;

use deltalake::datafusion::common::TableReference;
use deltalake::datafusion::execution::SessionState;
use deltalake::datafusion::sql::parser::{DFParser, Statement as DfStatement};
use deltalake::datafusion::sql::resolve::resolve_table_references;
use deltalake::datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use super::fault;
use crate::error::{Error, Result};

/// The schema that lists tables and columns, which `SHOW` and `DESCRIBE` read too.
const CATALOG: &str = "information_schema";

/// One statement that was parsed and found to read only.
#[derive(Debug, Clone)]
pub struct Statement {
    parsed: DfStatement,
    reads: Vec<TableReference>,
}

impl Statement {
    /// Parses SQL.
    ///
    /// # Errors
    /// Wrong use: not SQL, more or fewer than one statement, or one that is not a query.
    pub fn parse(sql: &str) -> Result<Self> {
        let mut statements = DFParser::parse_sql(sql).map_err(|error| fault::of_sql(&error))?;
        let parsed = match (statements.pop_front(), statements.is_empty()) {
            (None, _) => return Err(Error::usage("the SQL is empty")),
            (Some(_), false) => return Err(Error::usage("more than one statement").hint("ask one question at a time")),
            (Some(statement), true) => statement,
        };
        if !is_query(&parsed) {
            return Err(only_reads());
        }
        let (reads, _) = resolve_table_references(&parsed, true).map_err(|error| fault::of_sql(&error))?;
        Ok(Self { parsed, reads })
    }

    pub(super) fn parsed(&self) -> DfStatement {
        self.parsed.clone()
    }

    /// Whether it reads a reference, which stands in the project and not in the lake.
    pub fn reads_references(&self) -> bool {
        self.reads_schema("reference")
    }

    /// Whether it asks what tables there are.
    pub(super) fn reads_catalog(&self) -> bool {
        self.reads_schema(CATALOG)
            || matches!(&self.parsed, DfStatement::Statement(inner) if is_about_catalog(inner.as_ref()))
    }

    /// The tables that it names with their stage, sorted, none twice.
    pub fn staged_tables(&self) -> Vec<String> {
        let names = self.reads.iter().filter(|table| table.schema().is_some()).map(TableReference::to_string);
        names.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn reads_schema(&self, schema: &str) -> bool {
        self.reads.iter().any(|table| table.schema() == Some(schema))
    }

    /// The tables that it names, as they are written; table functions are none.
    pub(super) fn tables(&self, state: &SessionState) -> Vec<String> {
        let is_function =
            |table: &TableReference| table.schema().is_none() && state.table_functions().contains_key(table.table());
        self.reads.iter().filter(|table| !is_function(table)).map(TableReference::to_string).collect()
    }
}

fn is_query(statement: &DfStatement) -> bool {
    match statement {
        DfStatement::Explain(explain) => is_query(&explain.statement),
        DfStatement::Statement(inner) => {
            matches!(inner.as_ref(), SqlStatement::Query(_)) || is_about_catalog(inner.as_ref())
        }
        _ => false,
    }
}

fn is_about_catalog(statement: &SqlStatement) -> bool {
    matches!(
        statement,
        SqlStatement::ShowTables { .. } | SqlStatement::ShowColumns { .. } | SqlStatement::ExplainTable { .. }
    )
}

/// The error for a statement that would change something.
pub(super) fn only_reads() -> Error {
    Error::usage("`query` only reads: write one SELECT, without INTO")
        .hint("tables change by `pipeline run` alone; `--output FILE` writes a result")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn only_one_statement_that_reads_is_taken() {
        for sql in
            ["SELECT 1", "WITH a AS (SELECT 1) SELECT * FROM a;", "EXPLAIN SELECT 1", "SHOW TABLES", "VALUES (1)"]
        {
            assert!(Statement::parse(sql).is_ok(), "{sql}");
        }
        for sql in [
            "",
            "SELEC 1",
            "SELECT 1; SELECT 2",
            "DROP TABLE silver.exams",
            "DELETE FROM silver.exams",
            "INSERT INTO silver.exams VALUES (1)",
            "CREATE TABLE a AS SELECT 1",
            "CREATE EXTERNAL TABLE a STORED AS CSV LOCATION '/etc/passwd'",
            "COPY (SELECT 1) TO 'x.csv'",
            "SET datafusion.execution.batch_size = 1",
            "EXPLAIN DROP TABLE silver.exams",
        ] {
            assert_eq!(Statement::parse(sql).unwrap_err().kind(), Kind::Usage, "{sql}");
        }
    }

    #[test]
    fn tables_are_those_outside_of_the_statement() {
        let statement =
            Statement::parse("WITH e AS (SELECT * FROM Silver.Exams) SELECT * FROM e, reference.r").unwrap();
        let names: Vec<String> = statement.reads.iter().map(TableReference::to_string).collect();
        assert_eq!(names, ["reference.r", "silver.exams"]);
        assert!(statement.reads_references());
        assert!(!statement.reads_catalog());
    }
}
