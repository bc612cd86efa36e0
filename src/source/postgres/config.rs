//! How a server is connected to: the URL, what libpq knows of TLS and the driver does not, and the password.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::passfile::{self, Who};
use crate::error::{Error, Place, Result};
use crate::variables::Variables;

/// How long a connection may take to be made, where the URL does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// After so long without a word the system asks whether the server is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How far a server's certificate is checked, as libpq means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verify {
    /// Not at all.
    Nothing,
    /// That someone who is trusted signed it.
    Authority,
    /// That, and that it is the host's.
    Host,
}

/// How a server is connected to.
pub(super) struct Connection {
    pub config: Config,
    pub verify: Verify,
    /// Certificates that are trusted; those of the system without it.
    pub roots: Option<PathBuf>,
    /// `postgresql://host:port/database`.
    pub place: String,
}

impl fmt::Debug for Connection {
    /// The place only: the rest holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Connection {
    /// Reads a URL, and looks for the password where it may be.
    ///
    /// # Errors
    /// When the URL is wrong or has a password, or the passfile cannot be used.
    pub fn new(url: &str, password_variable: Option<&str>, variables: &Variables) -> Result<Self> {
        let (plain, tls) = split_tls(url)?;
        let bad = |text: String| Error::usage(text).hint("write postgresql://user@host:port/database");
        // The driver's message is about the URL's form and quotes nothing of it but a key.
        let mut config: Config = plain.parse().map_err(|error| bad(format!("the database's url: {error}")))?;
        if config.get_password().is_some() {
            return Err(Error::usage("a password stands in the database's url")
                .hint("leave it out: PGPASSWORD, password_variable or a passfile has it"));
        }
        if config.get_hosts().len() != 1 {
            return Err(bad("the database's url names no host, or several".to_owned()));
        }
        let database = config.get_dbname().ok_or_else(|| bad("the database's url names no database".to_owned()))?;
        let database = database.to_owned();
        let (host, port) = (host(&config), port(&config));
        let place = format!("postgresql://{host}:{port}/{database}");
        config.ssl_mode(tls.mode).application_name("medalha").keepalives_idle(KEEPALIVE);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        let user = config.get_user().unwrap_or_default().to_owned();
        let who = Who { host: &host, port: &port, database: &database, user: &user };
        if let Some(password) = password(password_variable, variables, &who).at(&place)? {
            config.password(password);
        }
        Ok(Self { config, verify: tls.verify, roots: tls.roots, place })
    }
}

fn host(config: &Config) -> String {
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        // As libpq looks for it in a passfile.
        _ => "localhost".to_owned(),
    }
}

fn port(config: &Config) -> String {
    config.get_ports().first().copied().unwrap_or(5432).to_string()
}

/// The password of the variable that is named, else of `PGPASSWORD`, else of the passfile; a server may ask for none.
fn password(variable: Option<&str>, variables: &Variables, who: &Who<'_>) -> Result<Option<String>> {
    if let Some(password) = variable.and_then(|name| variables.get(name)) {
        return Ok(Some(password));
    }
    match (variables.get("PGPASSWORD"), passfile::location()) {
        (Some(password), _) => Ok(Some(password)),
        (None, Some(path)) => passfile::password(&path, who),
        (None, None) => Ok(None),
    }
}

struct Tls {
    mode: SslMode,
    verify: Verify,
    roots: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of a URL: the driver knows neither the checks of certificates nor their files.
fn split_tls(url: &str) -> Result<(String, Tls)> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = ("prefer", None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = value,
            Some(("sslrootcert", value)) => roots = Some(decoded(value)).filter(|path| path != "system"),
            _ => rest.push(pair),
        }
    }
    let (mode, verify) = match mode {
        "disable" => (SslMode::Disable, Verify::Nothing),
        "prefer" => (SslMode::Prefer, Verify::Nothing),
        // As in libpq, who names a certificate wants it to count.
        "require" if roots.is_some() => (SslMode::Require, Verify::Authority),
        "require" => (SslMode::Require, Verify::Nothing),
        "verify-ca" => (SslMode::Require, Verify::Authority),
        "verify-full" => (SslMode::Require, Verify::Host),
        other => {
            return Err(Error::usage(format!("the database's url: sslmode '{other}' is not known"))
                .hint("disable, prefer, require, verify-ca or verify-full"));
        }
    };
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, Tls { mode, verify, roots: roots.map(PathBuf::from) }))
}

/// A value of a URL's query, its percent-encoding undone.
fn decoded(value: &str) -> String {
    let pairs = format!("v={}", value.replace('+', "%2B"));
    url::form_urlencoded::parse(pairs.as_bytes()).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(url: &str) -> String {
        Connection::new(url, None, &Variables::default()).unwrap_err().to_string()
    }

    #[test]
    fn tls_means_what_libpq_means() {
        let tls =
            |query: &str| split_tls(&format!("postgresql://h/d?{query}")).map(|(url, tls)| (url, tls.mode, tls.verify));
        let plain = || "postgresql://h/d".to_owned();
        assert_eq!(tls("").unwrap(), (plain(), SslMode::Prefer, Verify::Nothing));
        assert_eq!(tls("sslmode=require").unwrap(), (plain(), SslMode::Require, Verify::Nothing));
        assert_eq!(tls("sslmode=require&sslrootcert=a").unwrap(), (plain(), SslMode::Require, Verify::Authority));
        assert_eq!(tls("sslrootcert=system&sslmode=verify-full").unwrap(), (plain(), SslMode::Require, Verify::Host));
        assert_eq!(tls("options=-c%20x%3D1&sslmode=disable").unwrap().0, "postgresql://h/d?options=-c%20x%3D1");
        assert!(tls("sslmode=allow").is_err());
    }

    #[test]
    fn nothing_shows_a_password() {
        for url in ["postgresql://u:s3cret@h/d", "postgresql://u@h/d?password=s3cret", "postgresql://u:s3cret@h:x/d"] {
            assert!(!error(url).contains("s3cret"), "{}", error(url));
        }
        let connection = Connection::new("postgresql://u@h:5433/d", Some("PATH"), &Variables::default()).unwrap();
        assert_eq!(format!("{connection:?}"), "postgresql://h:5433/d");
        assert!(connection.config.get_password().is_some());
        let missing = Connection::new("postgresql://u@h/d", Some("MEDALHA_NONE"), &Variables::default()).unwrap();
        assert_eq!(missing.config.get_password(), None, "the server may ask for none");
    }
}
