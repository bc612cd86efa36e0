//! Where a run's time goes: gathers the program's spans and writes them as a Chrome trace, with the time that is each
//! step's own.
//!
//! A span is named for its step (`write`, `commit`), is of level TRACE, and has at most one field, `table`. A span without
//! it is of the table that the span around it is of. The table's stage gives a step its full name: `silver.write`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, Place, Result};

mod chrome;
mod spans;

use spans::Spans;
pub use spans::StepTime;

/// The field that says which table a step is for.
const TABLE: &str = "table";

thread_local! {
    /// The spans that this thread is in, each with when it was entered and how long it was in others within it.
    static ENTERED: RefCell<Vec<(Instant, Duration)>> = const { RefCell::new(Vec::new()) };
}

/// Spans being gathered, and the file that they go to.
pub struct Trace {
    gathered: Arc<Gathered>,
    file: File,
    path: PathBuf,
}

/// What the layer and the trace share.
struct Gathered {
    begun: Instant,
    spans: Mutex<Spans>,
    open: Mutex<HashMap<Id, usize>>,
}

impl Trace {
    /// A trace that will be written to a file, which is made at once: that it cannot be is told before the work.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).at(path.display())?;
        let gathered = Gathered { begun: Instant::now(), spans: Mutex::default(), open: Mutex::default() };
        Ok(Self { gathered: Arc::new(gathered), file, path: path.to_owned() })
    }

    /// What gathers this program's spans, those of no other crate.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let own = |metadata: &Metadata<'_>| metadata.is_span() && metadata.target().starts_with("medalha");
        Gatherer(self.gathered.clone()).with_filter(filter_fn(own))
    }

    /// Writes the spans that have ended; gives the time of each step, those with most of their own first.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(self) -> Result<Vec<StepTime>> {
        let spans = std::mem::take(&mut *locked(&self.gathered.spans));
        let times = spans.times();
        let written = chrome::write(BufWriter::new(self.file), &spans, &times);
        written.map_err(|error| Error::failed(error.to_string())).at(self.path.display())?;
        Ok(times)
    }
}

/// The layer that sees spans open and close.
struct Gatherer(Arc<Gathered>);

impl<S> Layer<S> for Gatherer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut table = TableName::default();
        attributes.record(&mut table);
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.id());
        let parent = parent.and_then(|parent| locked(&self.0.open).get(&parent).copied());
        let now = self.0.begun.elapsed();
        let place = locked(&self.0.spans).open(attributes.metadata().name(), table.0, parent, now);
        locked(&self.0.open).insert(id.clone(), place);
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {
        ENTERED.with_borrow_mut(|entered| entered.push((Instant::now(), Duration::ZERO)));
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        let own = ENTERED.with_borrow_mut(|entered| {
            let (since, within) = entered.pop()?;
            let all = since.elapsed();
            if let Some((_, within)) = entered.last_mut() {
                *within += all;
            }
            Some(all.saturating_sub(within))
        });
        let place = locked(&self.0.open).get(id).copied();
        if let (Some(own), Some(place)) = (own, place) {
            locked(&self.0.spans).add_busy(place, own);
        }
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(place) = locked(&self.0.open).remove(&id) {
            locked(&self.0.spans).close(place, self.0.begun.elapsed());
        }
    }
}

/// The field of a span that counts; whatever else it may have is not looked at.
#[derive(Default)]
struct TableName(Option<String>);

impl Visit for TableName {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == TABLE {
            self.0 = Some(format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == TABLE {
            self.0 = Some(value.to_owned());
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
