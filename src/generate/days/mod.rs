//! Data that goes on from day to day: tables of a database that are filled and then changed, and files for each day.
//!
//! Day 0 fills the tables. A later day adds, changes and takes away a share of the rows, which follows from the seed and
//! the day alone (`schedule.rs`): no day needs what another one left. A record's values follow from the seed and its number,
//! so the files tell of the same people as the tables. Without a database the tables become files of SQL.

mod place;
mod schedule;
mod values;

use self::place::{Folder, Tables};
use self::schedule::Schedule;
use super::dice::Dice;
use super::maker::Maker;
use super::plan::{Defect, Plan, Stream, Table, TableRows};
use super::program::Program;
use super::spec::{Again, Layout};
use super::{Defects, GenerateError, Report, calendar, literal};

/// Bytes of rows that are sent at once.
const PIECE: usize = 1 << 20;
/// Statements that are sent at once.
const STATEMENTS: usize = 500;
/// Draws of a day are told from those of a record by this bit.
const OF_DAY: u64 = 1 << 63;

/// What to make of which day, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// A folder or a URI such as `s3://bucket/prefix`, for files and the truth.
    pub out: String,
    /// The database, as a URL without a password; without one the tables become files.
    pub database: Option<String>,
    /// How many records day 0 fills the tables with.
    pub records: u64,
    /// The same seed gives the same data.
    pub seed: u64,
    /// The day; 0 fills.
    pub day: u64,
    /// What is wrong in the files on purpose.
    pub defects: Defects,
}

/// Whether a template makes its data day by day.
///
/// # Errors
/// Mistakes in the template.
pub fn wanted(template: &str, template_path: &str) -> Result<bool, GenerateError> {
    let plan = Plan::new(template, template_path).map_err(GenerateError::Template)?;
    Ok(plan.days.is_some())
}

/// Makes a day. Beside its files stands `truth-<date>.json`, with what the day did and what is wrong on purpose.
///
/// # Errors
/// Mistakes in the template, options without sense, a database that does not hold the days before, and places that cannot
/// be written to.
pub async fn make(template: &str, template_path: &str, options: &Options) -> Result<Report, GenerateError> {
    let plan = Plan::new(template, template_path).map_err(GenerateError::Template)?;
    let wrong = |text: &str| GenerateError::Option(text.to_owned());
    let days = plan.days.as_ref().ok_or_else(|| wrong("this template does not go on from day to day"))?;
    let schedule = Schedule::new(days, options.records, options.seed, options.day)
        .ok_or_else(|| wrong("there are not enough records for so many days"))?;
    let mut date = Vec::new();
    calendar::write(days.first + i64::try_from(options.day).unwrap_or_default(), &mut date);
    let date = String::from_utf8_lossy(&date).into_owned();
    let day = Day { plan: &plan, options, schedule, date, folder: Folder::open(&options.out)? };
    day.make().await
}

struct Day<'a> {
    plan: &'a Plan,
    options: &'a Options,
    schedule: Schedule,
    date: String,
    folder: Folder,
}

impl Day<'_> {
    async fn make(&self) -> Result<Report, GenerateError> {
        let mut report = Report { files: 0, records: 0, bytes: 0, truth: vec![("day".to_owned(), self.options.day)] };
        for (number, stream) in self.plan.streams.iter().enumerate() {
            match stream {
                Stream::Table(table) => self.table(table, &mut report).await?,
                Stream::Records { path, layout } => self.file(number, path, layout, &mut report).await?,
                Stream::Images { .. } => {}
            }
        }
        let truth = literal::truth(&report.truth).into_bytes();
        report.files += 1;
        report.bytes += truth.len() as u64;
        self.folder.put(&format!("truth-{}.json", self.date), truth).await?;
        Ok(report)
    }

    /// The values that a record's row has when they are drawn with these dice.
    fn row(&self, maker: &mut Maker<'_>, table: &Table, id: u64, dice: u64) -> Vec<Vec<u8>> {
        maker.dice = Dice::new(self.options.seed, dice);
        maker.begin(&self.plan.base, id);
        let columns = table.columns.iter();
        columns
            .map(|(_, template)| {
                let mut value = Vec::new();
                maker.write(&self.plan.base, template, &mut value);
                value
            })
            .collect()
    }

    async fn table(&self, table: &Table, report: &mut Report) -> Result<(), GenerateError> {
        let mut tables = match &self.options.database {
            Some(url) => Tables::connect(url).await?,
            None => {
                report.files += 1;
                Tables::file(&self.folder, &table.path.replace("${day}", &self.date)).await?
            }
        };
        let mut count = |what: &str, rows: u64| report.truth.push((format!("{}.{what}", table.relation), rows));
        if self.options.day == 0 {
            tables.statement(table.create.trim().trim_end_matches(';')).await?;
            tables.statement(&format!("TRUNCATE {}", values::relation(&table.relation))).await?;
            tables.copy(&copy_command(table), self.copied(table)).await?;
        }
        match &table.rows {
            TableRows::Fixed(rows) => count("rows", rows.len() as u64),
            TableRows::Records { key, update } => {
                count("rows", self.schedule.rows());
                for (what, statements) in self.changes(table, *key, update) {
                    let changed = change(&mut tables, &statements).await?;
                    if changed.is_some_and(|changed| changed != statements.len() as u64) {
                        let fact = format!("{}: not the rows that the days before leave", table.relation);
                        return Err(GenerateError::Store { place: "the database".to_owned(), fact });
                    }
                    count(what, statements.len() as u64);
                }
            }
        }
        report.bytes += tables.finish().await?;
        Ok(())
    }

    /// The rows that day 0 fills a table with, in pieces.
    fn copied<'a>(&'a self, table: &'a Table) -> Box<dyn Iterator<Item = Vec<u8>> + Send + 'a> {
        if let TableRows::Fixed(rows) = &table.rows {
            let mut lines = Vec::new();
            for row in rows {
                let row: Vec<Vec<u8>> = row.iter().map(|value| value.clone().into_bytes()).collect();
                values::copy_line(&row, &mut lines);
            }
            return Box::new(std::iter::once(lines));
        }
        let mut maker = self.plan.maker(self.options.seed, 0);
        let mut ids = self.schedule.filled();
        Box::new(std::iter::from_fn(move || {
            let mut lines = Vec::with_capacity(PIECE + PIECE / 4);
            for id in ids.by_ref() {
                values::copy_line(&self.row(&mut maker, table, id, id), &mut lines);
                if lines.len() >= PIECE {
                    break;
                }
            }
            (!lines.is_empty()).then_some(lines)
        }))
    }

    /// The statements of the day, each for one row.
    fn changes(&self, table: &Table, key: usize, update: &[usize]) -> [(&'static str, Vec<String>); 3] {
        let mut maker = self.plan.maker(self.options.seed, 0);
        let relation = values::relation(&table.relation);
        let is_key =
            |row: &[Vec<u8>]| format!("{} = {}", values::name(&table.columns[key].0), values::literal(&row[key]));
        let inserted = self.schedule.inserted().map(|id| {
            let row: Vec<String> =
                self.row(&mut maker, table, id, id).iter().map(|value| values::literal(value)).collect();
            format!("INSERT INTO {relation} ({}) VALUES ({})", names(table), row.join(", "))
        });
        let inserted = inserted.collect();
        let updated = self.schedule.updated().map(|id| {
            // The key follows from the record's number; what changes is drawn anew, for this day.
            let row = self.row(&mut maker, table, id, id);
            let anew = self.row(&mut maker, table, id, OF_DAY | self.options.day << 40 | id);
            let set = update
                .iter()
                .map(|at| format!("{} = {}", values::name(&table.columns[*at].0), values::literal(&anew[*at])));
            format!("UPDATE {relation} SET {} WHERE {}", set.collect::<Vec<_>>().join(", "), is_key(&row))
        });
        let updated = updated.collect();
        let deleted = self
            .schedule
            .deleted()
            .map(|id| format!("DELETE FROM {relation} WHERE {}", is_key(&self.row(&mut maker, table, id, id))));
        [("inserted", inserted), ("updated", updated), ("deleted", deleted.collect())]
    }

    /// The day's file of a stream of records.
    async fn file(&self, stream: usize, path: &str, layout: &Layout, report: &mut Report) -> Result<(), GenerateError> {
        let mut lines = Lines::new(self, stream, layout);
        let (known, unknown) = (self.schedule.known(), self.schedule.unknown());
        let mut people = [0; 2];
        for (id, is_known) in known.map(|id| (id, true)).chain(unknown.map(|id| (id, false))) {
            lines.record(id);
            people[usize::from(is_known)] += 1;
        }
        let name = self.plan.stream_name(stream);
        let mut count = |what: String, n: u64| report.truth.push((format!("{name}.{what}"), n));
        count("records".to_owned(), lines.records);
        count("people".to_owned(), people[0] + people[1]);
        count("people_in_tables".to_owned(), people[1]);
        for (defect, n) in self.plan.defect_names.iter().zip(&lines.defects) {
            count(defect.clone(), *n);
        }
        report.records += lines.records;
        let bytes = lines.finish();
        report.files += 1;
        report.bytes += bytes.len() as u64;
        self.folder.put(&path.replace("${day}", &self.date), bytes).await
    }
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|(name, _)| values::name(name)).collect::<Vec<_>>().join(", ")
}

fn copy_command(table: &Table) -> String {
    format!("COPY {} ({}) FROM STDIN WITH (FORMAT csv)", values::relation(&table.relation), names(table))
}

/// Does the statements; how many rows they changed, where a server says so.
async fn change(tables: &mut Tables<'_>, statements: &[String]) -> Result<Option<u64>, GenerateError> {
    let mut total = None;
    for some in statements.chunks(STATEMENTS) {
        if let Some(changed) = tables.statement(&some.join(";\n")).await? {
            total = Some(total.unwrap_or(0) + changed);
        }
    }
    Ok(total)
}

/// The records of a file.
struct Lines<'a> {
    day: &'a Day<'a>,
    stream: usize,
    json: bool,
    maker: Maker<'a>,
    bytes: Vec<u8>,
    records: u64,
    /// How many records have each defect.
    defects: Vec<u64>,
}

impl<'a> Lines<'a> {
    fn new(day: &'a Day<'a>, stream: usize, layout: &Layout) -> Self {
        let bytes = match layout {
            Layout::Json => b"[".to_vec(),
            Layout::Ndjson => Vec::new(),
            Layout::Csv { header } => format!("{header}\n").into_bytes(),
        };
        let maker = day.plan.maker(day.options.seed, 0);
        let defects = vec![0; day.plan.defects.len()];
        Self { day, stream, json: matches!(layout, Layout::Json), maker, bytes, records: 0, defects }
    }

    fn record(&mut self, id: u64) {
        let plan = self.day.plan;
        let number = self.defect(id);
        let defect = number.and_then(|number| plan.defects.get(number));
        match defect {
            None => self.write(&plan.base, id),
            Some(Defect { variant: Some(variant), then: None, .. }) => self.write(variant, id),
            Some(Defect { then: Some(Again::Anew), variant: Some(variant), .. }) => {
                self.write(&plan.base, id);
                self.write(variant, id);
            }
            Some(_) => {
                self.write(&plan.base, id);
                self.write(&plan.base, id);
            }
        }
        if let Some(number) = number {
            self.defects[number] += 1;
        }
    }

    /// The defect that the record has on this day, as its number.
    fn defect(&self, id: u64) -> Option<usize> {
        let options = self.day.options;
        let mut dice = Dice::new(options.seed ^ OF_DAY, options.day << 40 | id);
        if !dice.hits(options.defects.chance()) {
            return None;
        }
        let number = *dice.pick(&self.day.plan.defect_table)? as usize;
        (self.day.plan.defects.get(number)?.stream == self.stream).then_some(number)
    }

    fn write(&mut self, program: &'a Program, id: u64) {
        if self.records > 0 {
            self.bytes.extend_from_slice(if self.json { b", " } else { b"\n" });
        }
        self.records += 1;
        self.maker.dice = Dice::new(self.day.options.seed, id);
        self.maker.begin(program, id);
        if let Some(template) = &program.records[self.stream] {
            self.maker.write(program, template, &mut self.bytes);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(if self.json { b"]\n" } else { b"\n" });
        self.bytes
    }
}
