//! Where objects are: from a URI and the environment to a store, and what its errors mean.
//!
//! Requests that fail for a while (a connection that was reset, a 5xx, a timeout) are repeated by the store itself, with
//! pauses that grow, up to ten times within three minutes.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::error::{Error, Result};

mod certain;
mod fault;

pub use certain::CertainStore;
pub use fault::of_text;

/// A store of objects.
pub type Store = Arc<dyn ObjectStore>;

/// How often a request is repeated.
const RETRIES: usize = 10;
/// How long after a request's beginning it is still repeated: below the time for which its signature holds.
const RETRY_FOR: Duration = Duration::from_secs(180);

/// The URI in a text such as `s3://bucket/prefix`; `None` when the text is a path.
///
/// # Errors
/// Wrong use: a URI that cannot be read, or one with a password or a query, which would stand in logs and tables.
pub fn uri(text: &str) -> Result<Option<Url>> {
    if !text.contains("://") {
        return Ok(None);
    }
    let scheme = text.split("://").next().unwrap_or_default();
    let url = Url::parse(text).map_err(|error| Error::usage(error.to_string()).at(format!("{scheme}://…")))?;
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        let host = url.host_str().unwrap_or_default();
        let error = Error::usage("a URI with a password, a query or a fragment");
        return Err(error
            .at(format!("{}://{host}{}", url.scheme(), url.path()))
            .hint("give credentials in the environment; a '?' or '#' of a name is written %3F or %23"));
    }
    Ok(Some(url))
}

/// Connects to the store of a URI, as the environment says (`AWS_…`, `GOOGLE_…`, `AZURE_…`); nothing is asked of it yet.
///
/// # Errors
/// Wrong use: a scheme that is none of a store, or settings that contradict each other.
pub fn connect(url: &Url) -> Result<Store> {
    let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_FOR, ..RetryConfig::default() };
    let (address, server) = (url.as_str(), &url[..Position::BeforePath]);
    let wrong = |error: object_store::Error| Error::usage(error.to_string()).at(url);
    Ok(match url.scheme() {
        "s3" | "s3a" => {
            Arc::new(AmazonS3Builder::from_env().with_url(address).with_retry(retry).build().map_err(wrong)?)
        }
        "gs" => {
            Arc::new(GoogleCloudStorageBuilder::from_env().with_url(address).with_retry(retry).build().map_err(wrong)?)
        }
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            Arc::new(MicrosoftAzureBuilder::from_env().with_url(address).with_retry(retry).build().map_err(wrong)?)
        }
        "http" | "https" => {
            let options = ClientOptions::new().with_allow_http(true);
            let server = HttpBuilder::new().with_url(server).with_client_options(options);
            Arc::new(server.with_retry(retry).build().map_err(wrong)?)
        }
        other => {
            return Err(Error::usage(format!("{url}: '{other}' is not a kind of place"))
                .hint("give a path, or a URI with file, s3, gs, az, abfs, http or https"));
        }
    })
}

/// The path of a URI within its store.
///
/// # Errors
/// Wrong use: a path that no store can have, such as one with an empty part.
pub fn path_in_store(url: &Url) -> Result<Path> {
    Path::from_url_path(url.path()).map_err(|error| Error::usage(error.to_string()).at(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_uris_are_told_apart() {
        assert_eq!(uri("data/exam").unwrap(), None);
        assert_eq!(uri("C:\\data").unwrap(), None);
        let url = uri("s3://bucket/tórax 1").unwrap().unwrap();
        assert_eq!(path_in_store(&url).unwrap().as_ref(), "tórax 1");
    }

    #[test]
    fn secrets_in_a_uri_are_refused_and_not_told() {
        for text in ["https://me:secret@host/x", "az://c/x?sig=secret", "s3://b/x#secret"] {
            let error = uri(text).unwrap_err();
            assert_eq!(error.kind().exit_code(), 2);
            assert!(!error.to_string().contains("=secret") && !error.to_string().contains(":secret"), "{error}");
        }
        assert_eq!(connect(&Url::parse("ftp://host/x").unwrap()).unwrap_err().kind().exit_code(), 2);
    }
}
