//! Which errors of others may pass when the same is tried again.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};

use object_store::client::{HttpError, HttpErrorKind};

use super::Error;

/// How the object stores' clients tell of a status, in a type that they keep to themselves.
const STATUS: &str = "Server returned non-2xx status code: ";

/// Whether an error, or what it was caused by, may pass.
pub(super) fn is_transient(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if may_pass(error) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn may_pass(error: &(dyn StdError + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.is_transient();
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // What it wraps is not its source; its source is that of what it wraps.
        return is_transient_kind(error.kind()) || error.get_ref().is_some_and(|inner| is_transient(inner));
    }
    if let Some(error) = error.downcast_ref::<HttpError>() {
        let kinds =
            [HttpErrorKind::Connect, HttpErrorKind::Request, HttpErrorKind::Timeout, HttpErrorKind::Interrupted];
        return kinds.contains(&error.kind());
    }
    let text = error.to_string();
    text.strip_prefix(STATUS).is_some_and(|status| status.starts_with('5') || status.starts_with("429"))
}

fn is_transient_kind(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::BrokenPipe
            | ErrorKind::TimedOut
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::StaleNetworkFileHandle
    )
}

#[cfg(test)]
mod tests {
    use arrow::error::ArrowError;
    use deltalake::ObjectStoreError;
    use deltalake::datafusion::error::DataFusionError;

    use super::*;

    fn reset() -> io::Error {
        io::Error::from(ErrorKind::ConnectionReset)
    }

    #[test]
    fn a_connection_that_broke_may_pass_however_deep_it_lies() {
        let wrapped = io::Error::other(ArrowError::ExternalError(Box::new(reset())));
        for error in [
            Error::from(reset()).at("place"),
            Error::from(wrapped),
            Error::from(DataFusionError::External(Box::new(reset()))),
            Error::from(DataFusionError::External(Box::new(Error::failed("busy").transient()))),
            Error::from(ObjectStoreError::Generic { store: "S3", source: Box::new(reset()) }),
            Error::from(deltalake::DeltaTableError::ObjectStore {
                source: ObjectStoreError::Generic { store: "S3", source: Box::new(reset()) },
            }),
            Error::failed("source 'x': it broke").because(&reset()),
        ] {
            assert!(error.is_transient(), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_for_good_does_not_pass() {
        let not_found = || io::Error::from(ErrorKind::NotFound);
        for error in [
            Error::from(not_found()),
            Error::from(DataFusionError::Plan("no such column".to_owned())),
            Error::from(ObjectStoreError::NotFound { path: "x".to_owned(), source: Box::new(not_found()) }),
            Error::failed("disk full"),
        ] {
            assert!(!error.is_transient(), "{error}");
        }
    }

    #[test]
    fn of_a_servers_answers_those_pass_that_blame_the_server() {
        #[derive(Debug, thiserror::Error)]
        #[error("{STATUS}{0}: <Error/>")]
        struct Answer(&'static str);
        assert!(["500 Internal Server Error", "503", "429 Too Many Requests"].iter().all(|s| is_transient(&Answer(s))));
        assert!(["400 Bad Request", "403 Forbidden"].iter().all(|status| !is_transient(&Answer(status))));
    }
}
