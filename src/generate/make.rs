//! Makes the files of a plan, in parallel; what a file holds does not depend on the others.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::dice::Dice;
use super::image::{self, Encoding};
use super::maker::Maker;
use super::plan::{Defect, Plan, Stream};
use super::program::Program;
use super::spec::{Again, Layout};
use super::{GenerateError, Options, Totals};

/// A buffer is written to its file when it holds this many bytes.
const FLUSH: usize = 1 << 20;

/// Makes all files of records and images, on as many threads as asked for.
pub(super) fn make_all(
    plan: &Plan,
    options: &Options,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Totals, GenerateError> {
    let files = options.records.div_ceil(options.per_file);
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if options.threads == 0 { available() } else { options.threads };
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut totals = Totals::new(plan.truth.names.len());
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= files {
                break;
            }
            let made = Job::new(plan, options, number).and_then(|job| job.run(progress));
            totals.add(&made.inspect_err(|_| failed.store(true, Ordering::Relaxed))?);
        }
        Ok(totals)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut totals = Totals::new(plan.truth.names.len());
        for worker in workers {
            match worker.join() {
                Ok(made) => totals.add(&made?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(totals)
    })
}

/// One file of each stream of records.
struct Job<'a> {
    plan: &'a Plan,
    options: &'a Options,
    /// The ids of its records.
    ids: std::ops::Range<u64>,
    maker: Maker<'a>,
    /// By stream; `None` for a stream of images.
    sinks: Vec<Option<Sink>>,
    totals: Totals,
}

impl<'a> Job<'a> {
    fn new(plan: &'a Plan, options: &'a Options, number: u64) -> Result<Self, GenerateError> {
        let end = options.start + options.records;
        let first = options.start + number * options.per_file;
        let ids = first..end.min(first.saturating_add(options.per_file));
        let sink = |stream: &Stream| match stream {
            Stream::Records { path, layout } => {
                let path =
                    path.replace("${start}", &options.start.to_string()).replace("${file}", &format!("{number:06}"));
                Sink::new(options.out.join(path), layout.clone()).map(Some)
            }
            Stream::Images { .. } | Stream::Table(_) => Ok(None),
        };
        Ok(Self {
            plan,
            options,
            ids,
            // By the first id and not by the file's number: a later call that starts
            // where this one ends does not draw the same again.
            maker: plan.maker(options.seed, first),
            sinks: plan.streams.iter().map(sink).collect::<Result<_, _>>()?,
            totals: Totals::new(plan.truth.names.len()),
        })
    }

    fn run(mut self, progress: &(dyn Fn(u64) + Sync)) -> Result<Totals, GenerateError> {
        let rate = self.options.defects.chance();
        let mut reported = 0;
        for (n, id) in (1u64..).zip(self.ids.clone()) {
            let hit = self.maker.dice.hits(rate);
            let defect = match hit {
                true => self.maker.dice.pick(&self.plan.defect_table).copied(),
                false => None,
            };
            self.record(id, defect.map(|d| d as usize))?;
            if n % 1000 == 0 {
                progress(n - reported);
                reported = n;
            }
        }
        progress(self.ids.end - self.ids.start - reported);
        for (stream, sink) in self.sinks.iter_mut().enumerate() {
            if let Some(sink) = sink {
                self.totals.files += 1;
                self.totals.records += sink.records;
                self.totals.bytes += sink.finish()?;
                self.plan.truth.tally_stream(stream, sink.records, &mut self.totals.truth);
            }
        }
        Ok(self.totals)
    }

    fn record(&mut self, id: u64, defect: Option<usize>) -> Result<(), GenerateError> {
        let number = defect;
        let defect = defect.and_then(|d| self.plan.defects.get(d));
        let program = match defect {
            Some(Defect { variant: Some(variant), then: None, .. }) => variant,
            _ => &self.plan.base,
        };
        self.maker.begin(program, id);
        for stream in 0..self.sinks.len() {
            self.write(program, stream)?;
        }
        if defect.is_none_or(|d| d.good) {
            let (slots, seen) = (&self.maker.slots, self.maker.seen);
            self.plan.truth.tally(slots, seen, &mut self.totals.truth);
        }
        if id - self.options.start < self.options.images {
            self.images(program, id)?;
        }
        if let (Some(number), Some(defect)) = (number, defect) {
            self.plan.truth.tally_defect(number, &mut self.totals.truth);
            self.again(id, defect)?;
        }
        self.sinks.iter_mut().flatten().try_for_each(Sink::flush_if_full)
    }

    fn write(&mut self, program: &Program, stream: usize) -> Result<(), GenerateError> {
        if let (Some(sink), Some(template)) = (&mut self.sinks[stream], &program.records[stream]) {
            sink.begin();
            self.maker.write(program, template, &mut sink.buffer);
        }
        Ok(())
    }

    /// Writes what comes after a record that comes twice.
    fn again(&mut self, id: u64, defect: &Defect) -> Result<(), GenerateError> {
        match (defect.then, &defect.variant) {
            (Some(Again::Same), _) => {
                if let Some(sink) = &mut self.sinks[defect.stream] {
                    sink.repeat();
                }
                Ok(())
            }
            (Some(Again::Anew), Some(variant)) => {
                self.maker.begin(variant, id);
                self.write(variant, defect.stream)
            }
            _ => Ok(()),
        }
    }

    fn images(&mut self, program: &Program, id: u64) -> Result<(), GenerateError> {
        for stream in &self.plan.streams {
            let Stream::Images { path, tests, encoding, image } = stream else {
                continue;
            };
            if !tests.iter().all(|test| test.holds(&self.maker.slots)) {
                continue;
            }
            let mut text = |template| {
                let mut text = Vec::new();
                self.maker.write(program, template, &mut text);
                String::from_utf8_lossy(&text).into_owned()
            };
            let path = self.options.out.join(text(path));
            // Counted from the end, so that no file of records has the same stream.
            let mut dice = Dice::new(self.options.seed, u64::MAX - id);
            let pixels = image::pixels(image, &mut dice);
            let bytes = match encoding {
                Encoding::Dicom(tags) => {
                    let attributes = tags.iter().map(|(tag, vr, value)| (*tag, *vr, text(value)));
                    image::dicom(image, attributes, pixels)
                }
                Encoding::Png => image::png(image, &pixels),
            };
            let bytes = bytes.map_err(|fact| GenerateError::Image { path: path.clone(), fact })?;
            write_file(&path, &bytes)?;
            self.totals.files += 1;
            self.totals.bytes += bytes.len() as u64;
        }
        Ok(())
    }
}

/// A file that records are appended to.
struct Sink {
    path: PathBuf,
    file: fs::File,
    layout: Layout,
    buffer: Vec<u8>,
    /// Where the last record begins in the buffer.
    last: usize,
    records: u64,
    bytes: u64,
}

impl Sink {
    fn new(path: PathBuf, layout: Layout) -> Result<Self, GenerateError> {
        create_parent(&path)?;
        let file = fs::File::create(&path).map_err(|cause| cannot_write(&path, cause))?;
        let mut buffer = Vec::with_capacity(FLUSH + FLUSH / 4);
        match &layout {
            Layout::Json => buffer.push(b'['),
            Layout::Ndjson => {}
            Layout::Csv { header } => {
                buffer.extend_from_slice(header.as_bytes());
                buffer.push(b'\n');
            }
        }
        Ok(Self { path, file, layout, buffer, last: 0, records: 0, bytes: 0 })
    }

    /// Makes room for another record.
    fn begin(&mut self) {
        if self.records > 0 {
            let separator: &[u8] = if matches!(self.layout, Layout::Json) { b", " } else { b"\n" };
            self.buffer.extend_from_slice(separator);
        }
        self.records += 1;
        self.last = self.buffer.len();
    }

    /// Appends the last record once more.
    fn repeat(&mut self) {
        let record = self.last..self.buffer.len();
        self.begin();
        self.buffer.extend_from_within(record);
    }

    fn flush_if_full(&mut self) -> Result<(), GenerateError> {
        if self.buffer.len() < FLUSH { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), GenerateError> {
        let written = self.file.write_all(&self.buffer);
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        written.map_err(|cause| cannot_write(&self.path, cause))
    }

    /// Ends the file; returns its size in bytes.
    fn finish(&mut self) -> Result<u64, GenerateError> {
        let end: &[u8] = if matches!(self.layout, Layout::Json) { b"]\n" } else { b"\n" };
        self.buffer.extend_from_slice(end);
        self.flush().map(|()| self.bytes)
    }
}

/// Writes a whole file, with the folders that it stands in.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), GenerateError> {
    create_parent(path)?;
    fs::write(path, bytes).map_err(|cause| cannot_write(path, cause))
}

fn create_parent(path: &Path) -> Result<(), GenerateError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(parent).map_err(|cause| cannot_write(parent, cause))
}

fn cannot_write(path: &Path, cause: std::io::Error) -> GenerateError {
    GenerateError::Write { path: path.to_owned(), cause }
}
