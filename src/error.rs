//! What can go wrong, by what the user must do about it.

use std::fmt;

use arrow::error::ArrowError;
use deltalake::datafusion::error::DataFusionError;
use deltalake::{DeltaTableError, ObjectStoreError};

mod memory;
mod transient;

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a command ends without having done its work; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The work failed: exit code 1.
    Failed,
    /// The command or the pipeline is wrong: exit code 2.
    Usage,
    /// An expectation of severity `fail` did not hold: exit code 3.
    Expectation,
    /// Another run holds the lease: exit code 4.
    Lease,
}

impl Kind {
    /// The process's exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Expectation => 3,
            Kind::Lease => 4,
        }
    }
}

/// An error: place and fact in one line, and a hint where there is one.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    hint: Option<String>,
    transient: bool,
    out_of_memory: bool,
}

impl Error {
    /// An error of a kind, with its message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, transient: false, out_of_memory: false }
    }

    /// The work failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Kind::Failed, message)
    }

    /// The command or the pipeline is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Adds what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the user can do, where nothing is said of it.
    pub fn or_hint(self, hint: impl Into<String>) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }

    /// Puts a place before the message.
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Says that what failed may work when it is tried again: a connection was reset or refused, a server busy, or the
    /// time ran out.
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Takes over from its cause whether it may work when it is tried again, or with less at a time.
    pub fn because(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        self.transient |= transient::is_transient(cause);
        self.out_of_memory |= memory::is_out_of_memory(cause);
        self
    }

    /// Whether the engine needed more memory than it may take: less at a time may work.
    pub fn is_out_of_memory(&self) -> bool {
        self.out_of_memory
    }

    /// Whether what failed may work when it is tried again.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// The work failed; where the operating system's number for it says why, with what the user can do. The libraries in
    /// between keep of the error only its text.
    pub(crate) fn of_system(message: String) -> Self {
        let number =
            message.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')).map(|(number, _)| number);
        let hint = match number {
            // EFBIG, ENOSPC, EDQUOT
            Some("27" | "28" | "122") => "make room and run again: what was committed before is whole",
            // EPERM, EACCES, EROFS
            Some("1" | "13" | "30") => "let the user who runs this read and write there, or name another place",
            // EIO
            Some("5") => "the disk cannot be read or written: look at the system's log",
            _ => return Self::failed(message),
        };
        Self::failed(message).hint(hint)
    }

    /// Place and fact, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What the user must do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The message without values that came from data: everything between quotes is left out.
    /// For logs, where a value may be a name (rule 15 of the design: logs carry no texts of people).
    pub fn without_values(&self) -> String {
        without_quoted(&self.message)
    }
}

/// Replaces what stands between single or double quotes by `…`.
fn without_quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(q) if c == q => {
                out.push('…');
                out.push(c);
                quote = None;
            }
            Some(_) => {}
            None => {
                out.push(c);
                if c == '\'' || c == '"' {
                    quote = Some(c);
                }
            }
        }
    }
    out
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Says where a result failed.
pub trait Place<T> {
    /// Puts a place before the error's message.
    ///
    /// # Errors
    /// The same, with its place.
    fn at(self, place: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Error>> Place<T> for std::result::Result<T, E> {
    fn at(self, place: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.into().at(place))
    }
}

macro_rules! failed_from {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Error {
            fn from(error: $error) -> Self {
                crate::store::of_text(&error.to_string()).because(&error)
            }
        }
    )+};
}

failed_from!(
    ArrowError,
    ObjectStoreError,
    object_store::path::Error,
    deltalake::kernel::Error,
    deltalake::parquet::errors::ParquetError,
    std::io::Error,
    serde_json::Error,
    tokio::task::JoinError,
);

impl From<DeltaTableError> for Error {
    fn from(error: DeltaTableError) -> Self {
        crate::store::of_text(&error.to_string()).because(&error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        crate::store::of_text(&error.find_root().strip_backtrace()).because(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_leave_quoted_values_out() {
        let error = Error::failed("Cannot cast string 'Maria da Silva' to value of \"Date32\" type");
        assert_eq!(error.without_values(), "Cannot cast string '…' to value of \"…\" type");
    }

    #[test]
    fn a_hint_stands_on_its_own_line() {
        let error = Error::usage("unknown table 'silver.exam'").hint("did you mean 'silver.exams'?");
        assert_eq!(error.to_string(), "unknown table 'silver.exam'\n  hint: did you mean 'silver.exams'?");
        assert_eq!(error.kind().exit_code(), 2);
    }
}
