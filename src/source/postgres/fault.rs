//! What a server or a connection said, in one line and with what to do about it.

use std::error::Error as _;
use std::io::ErrorKind;

use tokio_postgres::error::SqlState;

use crate::error::Error;

/// An error of the driver, with its place.
pub(super) fn failure(place: &str, error: &tokio_postgres::Error) -> Error {
    let mut told = Error::failed(format!("{place}: {}", text(error)));
    if let Some(hint) = hint(error) {
        told = told.hint(hint);
    }
    if is_transient(error) { told.transient() } else { told }
}

/// The server's message, or the causes of a broken connection.
fn text(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return server.message().to_owned();
    }
    if error.is_closed() {
        return "the connection broke".to_owned();
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn hint(error: &tokio_postgres::Error) -> Option<&'static str> {
    let no_password = error.source().is_some_and(|cause| cause.to_string().contains("password missing"));
    if no_password {
        return Some("set PGPASSWORD, name a variable in password_variable, or write a line in ~/.pgpass");
    }
    match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => Some(
            "the user stands in the source's url; the password is that of password_variable, PGPASSWORD or a passfile",
        ),
        Some(&SqlState::INVALID_CATALOG_NAME) => Some("the database's name is the last part of the source's url"),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            Some("grant the reading user SELECT, and BYPASSRLS where rows are hidden")
        }
        _ if is_transient(error) => Some("nothing of the table was taken; the next run takes it"),
        _ => None,
    }
}

/// Whether a later try may find the server well again.
fn is_transient(error: &tokio_postgres::Error) -> bool {
    if let Some(code) = error.code() {
        return [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
        ]
        .contains(code);
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && is_passing(error.kind())
        {
            return true;
        }
        cause = error.source();
    }
    error.is_closed()
}

fn is_passing(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | TimedOut | UnexpectedEof | NotConnected
    )
}
