//! Where a day's data goes: files in a folder or a bucket, rows in a database.

use futures::SinkExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, parse_url_opts};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use url::Url;

use crate::generate::GenerateError;

/// Parts of a file that are on their way at the same time.
const PARTS: usize = 4;

/// A folder or a place in a bucket.
pub(super) struct Folder {
    store: Box<dyn ObjectStore>,
    place: String,
}

impl Folder {
    /// A folder, which is made where it is not there, or the place of a URI. What the store needs to know comes from the
    /// environment, as AWS_ENDPOINT_URL and its like.
    pub(super) fn open(place: &str) -> Result<Self, GenerateError> {
        let refused = |fact: String| GenerateError::Store { place: place.to_owned(), fact };
        let store: Box<dyn ObjectStore> = match Url::parse(place) {
            Ok(url) if place.contains("://") => {
                let options = std::env::vars().map(|(name, value)| (name.to_ascii_lowercase(), value));
                let (store, path) = parse_url_opts(&url, options).map_err(|error| refused(error.to_string()))?;
                Box::new(PrefixStore::new(store, path))
            }
            _ => {
                std::fs::create_dir_all(place).map_err(|error| refused(error.to_string()))?;
                Box::new(LocalFileSystem::new_with_prefix(place).map_err(|error| refused(error.to_string()))?)
            }
        };
        Ok(Self { store, place: place.to_owned() })
    }

    fn refused(&self, path: &str, error: &object_store::Error) -> GenerateError {
        GenerateError::Store { place: format!("{}/{path}", self.place), fact: error.to_string() }
    }

    /// Writes a whole file.
    pub(super) async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<(), GenerateError> {
        let written = self.store.put(&Path::from(path), bytes.into()).await;
        written.map(|_| ()).map_err(|error| self.refused(path, &error))
    }

    /// Begins a file of any size.
    async fn begin(&self, path: &str) -> Result<WriteMultipart, GenerateError> {
        let upload = self.store.put_multipart(&Path::from(path)).await.map_err(|error| self.refused(path, &error))?;
        Ok(WriteMultipart::new(upload))
    }
}

/// A database in one transaction, or a file of SQL for it.
pub(super) enum Tables<'a> {
    Server { client: Client, place: String },
    File { folder: &'a Folder, path: String, file: Box<WriteMultipart>, bytes: u64 },
}

impl<'a> Tables<'a> {
    /// Connects and begins.
    pub(super) async fn connect(url: &str) -> Result<Self, GenerateError> {
        let (client, place) = connect(url).await?;
        let tables = Self::Server { client, place };
        tables.run("BEGIN").await?;
        Ok(tables)
    }

    /// Begins a file.
    pub(super) async fn file(folder: &'a Folder, path: &str) -> Result<Self, GenerateError> {
        let mut tables =
            Self::File { folder, path: path.to_owned(), file: Box::new(folder.begin(path).await?), bytes: 0 };
        tables.statement("BEGIN").await?;
        Ok(tables)
    }

    /// Does a statement; gives how many rows it changed, where a server says so.
    pub(super) async fn statement(&mut self, sql: &str) -> Result<Option<u64>, GenerateError> {
        if let Self::Server { .. } = self {
            return self.run(sql).await.map(Some);
        }
        self.append(format!("{sql};\n").as_bytes()).await?;
        Ok(None)
    }

    async fn run(&self, sql: &str) -> Result<u64, GenerateError> {
        let Self::Server { client, place } = self else { return Ok(0) };
        let answers = client.simple_query(sql).await.map_err(|error| database_said(place, &error))?;
        let rows = answers.iter().map(|answer| match answer {
            SimpleQueryMessage::CommandComplete(rows) => *rows,
            _ => 0,
        });
        Ok(rows.sum())
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), GenerateError> {
        let Self::File { folder, path, file, bytes: total } = self else { return Ok(()) };
        file.wait_for_capacity(PARTS).await.map_err(|error| folder.refused(path, &error))?;
        file.write(bytes);
        *total += bytes.len() as u64;
        Ok(())
    }

    /// Copies rows, in COPY's CSV form, a piece at a time.
    pub(super) async fn copy(
        &mut self,
        command: &str,
        pieces: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), GenerateError> {
        if let Self::Server { client, place } = self {
            let refused = |error| database_said(place, &error);
            let mut sink = std::pin::pin!(client.copy_in::<_, bytes::Bytes>(command).await.map_err(refused)?);
            for piece in pieces {
                sink.send(piece.into()).await.map_err(refused)?;
            }
            return sink.finish().await.map(|_| ()).map_err(refused);
        }
        self.append(format!("{command};\n").as_bytes()).await?;
        for piece in pieces {
            self.append(&piece).await?;
        }
        self.append(b"\\.\n").await
    }

    /// Ends it; gives the bytes of the file.
    pub(super) async fn finish(mut self) -> Result<u64, GenerateError> {
        self.statement("COMMIT").await?;
        match self {
            Self::Server { .. } => Ok(0),
            Self::File { folder, path, file, bytes } => {
                file.finish().await.map_err(|error| folder.refused(&path, &error))?;
                Ok(bytes)
            }
        }
    }
}

/// Connects to a database; gives its place, without user and password, for errors.
async fn connect(url: &str) -> Result<(Client, String), GenerateError> {
    let wrong = |fact: &str| GenerateError::Option(format!("--database: {fact}"));
    let mut config: tokio_postgres::Config = url.parse().map_err(|_| wrong("not a postgresql:// URL"))?;
    if config.get_password().is_some() {
        return Err(wrong("a password does not belong on the command line: set PGPASSWORD"));
    }
    if let Ok(password) = std::env::var("PGPASSWORD") {
        config.password(password);
    }
    let place = format!("database '{}'", config.get_dbname().unwrap_or("postgres"));
    let (client, connection) = config.connect(NoTls).await.map_err(|error| database_said(&place, &error))?;
    // An error of the connection is told to whoever waits for an answer.
    tokio::spawn(connection);
    Ok((client, place))
}

fn database_said(place: &str, error: &tokio_postgres::Error) -> GenerateError {
    let fact = error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned());
    GenerateError::Store { place: place.to_owned(), fact }
}
