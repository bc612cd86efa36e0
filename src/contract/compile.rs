//! Puts the files of all pipelines together: names, schemas, plans and the order of tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use arrow::datatypes::{Fields, SchemaRef};
use deltalake::datafusion::logical_expr::Expr;
use xxhash_rust::xxh3::Xxh3;

use super::define::{Defined, define};
use super::graph::{self, Reads};
use super::layout::{Folder, Named};
use super::plan::Planner;
use super::table::{Draft, Kind, draft};
use super::types::{is_identifier, type_name};
use super::{
    Dataset, Definition, FileSource, Files, Format, KeyedInput, Pipeline, Project, Query, Reference, Source,
    SourceKind, Table, TableName, csv, database, dataset, query, reference,
};
use super::{erased_with, parallel, raw};
use crate::problem::{File, Place, Problem, suggest};
use crate::toml::{At, inside};
use crate::variables::Template;
use arrow::datatypes::DataType;

/// What a project declares, before any SQL of its tables is looked at.
struct Declared<'a> {
    pipelines: Vec<Read<'a>>,
    references: Vec<Reference>,
    drafts: Vec<Draft<'a>>,
    planner: Planner,
}

/// Reads what is declared; `None` when nothing can be planned with it.
fn declare<'a>(folders: &'a [Folder], problems: &mut Vec<Problem>) -> Option<Declared<'a>> {
    let pipelines = read_pipelines(folders, problems);
    let references = read_references(folders, &pipelines, problems);
    let mut drafts = Vec::new();
    for folder in folders {
        let pipeline = pipeline_name(&pipelines, folder);
        let sources = original_sources(&pipelines, folder);
        drafts.extend(folder.tables.iter().filter_map(|files| draft(&pipeline, files, &sources, problems)));
    }
    check_names(folders, problems);
    check_sources(&pipelines, &drafts, problems);
    erased_with::check(&drafts, problems);
    match Planner::new(relations(folders, &drafts, &references)) {
        Ok(planner) => Some(Declared { pipelines, references, drafts, planner }),
        Err(error) => {
            problems.push(Problem::of_file("pipelines", format!("the tables cannot be registered: {error}")));
            None
        }
    }
}

/// One query and the references; `None` when there is no query of the name, or there are problems.
pub(super) fn compile_query(
    folders: &[Folder],
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<(Query, Vec<Reference>)> {
    let Declared { pipelines, references, planner, .. } = declare(folders, problems)?;
    let (folder, named) = queries_of(folders).find(|(_, named)| named.name == name)?;
    let query = query::read(&pipeline_name(&pipelines, folder), named, &planner, &references, problems)?;
    Some((query, references))
}

/// Compiles what was read; `None` when there are problems.
pub(super) fn compile(folders: &[Folder], problems: &mut Vec<Problem>) -> Option<Project> {
    let Declared { pipelines, references, drafts, planner } = declare(folders, problems)?;
    let defined: Vec<Option<Defined<'_>>> =
        parallel::for_each(&drafts, problems, |draft, problems| define(draft, &planner, problems));
    let order = order_tables(&drafts, &defined, problems);
    let queries = read_queries(folders, &pipelines, &planner, &references, problems);
    let known = dataset::Known { planner: &planner, queries: &queries, references: &references };
    let datasets = read_datasets(folders, &pipelines, &known, problems);
    if !problems.is_empty() {
        return None;
    }
    let texts = reference_texts(folders);
    let mut tables: HashMap<TableName, Table> = HashMap::new();
    for (draft, defined) in drafts.iter().zip(defined) {
        let definition = definition(draft, defined.and_then(|defined| defined.definition))?;
        let inputs = input_texts(&definition, &drafts, &texts);
        tables.insert(draft.name.clone(), table(draft, definition, &inputs));
    }
    tell_what_is_sought(&mut tables);
    let mut pipelines: Vec<Pipeline> = pipelines.into_iter().map(|(_, pipeline, _)| pipeline).collect();
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    let tables = order?.into_iter().filter_map(|name| tables.remove(&name)).collect();
    Some(Project { pipelines, tables, references, queries, datasets, files: Files::of(folders) })
}

/// A folder, its pipeline, and where its sources are declared.
type Read<'a> = (&'a Folder, Pipeline, Vec<usize>);

fn read_pipelines<'a>(folders: &'a [Folder], problems: &mut Vec<Problem>) -> Vec<Read<'a>> {
    let mut pipelines: Vec<Read<'a>> = Vec::new();
    for folder in folders {
        let Some(file) = &folder.manifest else {
            continue;
        };
        let Some(raw) = raw::pipeline(file, problems) else {
            continue;
        };
        if let Some(At { value, at }) = &raw.name {
            if !is_identifier(value) {
                let hint = "small letters, digits and _, a letter first".to_owned();
                problems.push(file.problem(*at, format!("'{value}' cannot be a name")).with_hint(hint));
            }
            if let Some((other, ..)) = pipelines.iter().find(|(_, known, _)| known.name == *value) {
                let message = format!("pipeline '{value}' is there twice: pipelines/{} has that name too", other.name);
                problems.push(file.problem(*at, message));
            }
        }
        let places = raw.sources.iter().map(|source| source.name.at).collect();
        let sources = raw.sources.into_iter().map(|source| read_source(file, source, problems)).collect();
        let name = raw.name.map_or_else(|| folder.name.clone(), |at| at.value);
        let pipeline = Pipeline { name, description: raw.description, dir: folder.dir.clone(), sources };
        pipelines.push((folder, pipeline, places));
    }
    pipelines
}

fn read_source(file: &File, raw: raw::RawSource, problems: &mut Vec<Problem>) -> Source {
    if !is_identifier(&raw.name.value) {
        problems.push(file.problem(raw.name.at, format!("'{}' cannot be a source's name", raw.name.value)));
    }
    let kind = match raw.kind {
        raw::RawKind::Postgres(raw) => SourceKind::Postgres(database::read(file, raw, problems)),
        raw::RawKind::Files { path, format, optional } => {
            SourceKind::Files(FileSource { path: read_path(file, path, problems), format, optional })
        }
    };
    Source { name: raw.name.value, description: raw.description, kind }
}

fn read_path(file: &File, path: Option<At<String>>, problems: &mut Vec<Problem>) -> Template {
    let Some(At { value, at }) = path else { return Template::literal("") };
    if value.split(['/', '\\']).any(|part| part == "..") {
        let hint = "write a path below --data, or an absolute one".to_owned();
        problems.push(file.problem(at, format!("path '{value}' leads out of the data")).with_hint(hint));
    }
    Template::parse(&value).unwrap_or_else(|(offset, message)| {
        problems.push(file.problem(inside(file, at, &value, offset), message));
        Template::literal("")
    })
}

fn pipeline_name(pipelines: &[Read<'_>], folder: &Folder) -> String {
    let found = pipelines.iter().find(|(known, ..)| std::ptr::eq(*known, folder));
    found.map_or_else(|| folder.name.clone(), |(_, pipeline, _)| pipeline.name.clone())
}

/// The sources of a folder's pipeline whose files are originals.
fn original_sources<'a>(pipelines: &'a [Read<'_>], folder: &Folder) -> Vec<&'a str> {
    let found = pipelines.iter().find(|(known, ..)| std::ptr::eq(*known, folder));
    let sources = found.into_iter().flat_map(|(_, pipeline, _)| &pipeline.sources);
    let is_original = |source: &&Source| matches!(&source.kind, SourceKind::Files(files) if files.format.is_original());
    sources.filter(is_original).map(|source| source.name.as_str()).collect()
}

fn read_references(folders: &[Folder], pipelines: &[Read<'_>], problems: &mut Vec<Problem>) -> Vec<Reference> {
    let mut references = Vec::new();
    for folder in folders {
        let pipeline = pipeline_name(pipelines, folder);
        references.extend(folder.references.iter().filter_map(|named| reference::read(&pipeline, named, problems)));
    }
    references.sort_by(|a, b| a.name.cmp(&b.name));
    references
}

/// The queries of all folders, each with its folder.
fn queries_of(folders: &[Folder]) -> impl Iterator<Item = (&Folder, &Named)> {
    folders.iter().flat_map(|folder| folder.queries.iter().map(move |named| (folder, named)))
}

fn read_queries(
    folders: &[Folder],
    pipelines: &[Read<'_>],
    planner: &Planner,
    references: &[Reference],
    problems: &mut Vec<Problem>,
) -> Vec<Query> {
    let named = queries_of(folders).map(|(folder, named)| (pipeline_name(pipelines, folder), named));
    let named: Vec<_> = named.collect();
    let read = parallel::for_each(&named, problems, |(pipeline, named), problems| {
        query::read(pipeline, named, planner, references, problems)
    });
    let mut queries: Vec<Query> = read.into_iter().flatten().collect();
    queries.sort_by(|a, b| a.name.cmp(&b.name));
    queries
}

fn read_datasets(
    folders: &[Folder],
    pipelines: &[Read<'_>],
    known: &dataset::Known<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Dataset> {
    let mut datasets = Vec::new();
    for folder in folders {
        let pipeline = pipeline_name(pipelines, folder);
        datasets.extend(folder.datasets.iter().filter_map(|named| dataset::read(&pipeline, named, known, problems)));
    }
    datasets.sort_by(|a, b| a.name.cmp(&b.name));
    datasets
}

/// Tables, references, queries and datasets have one name in the whole project.
fn check_names(folders: &[Folder], problems: &mut Vec<Problem>) {
    let tables = folders.iter().flat_map(|folder| &folder.tables).map(|files| (&files.name, &files.contract));
    twice("table", tables, problems);
    let references = folders.iter().flat_map(|folder| &folder.references);
    twice("reference", references.map(|named| (&named.name, &named.file)), problems);
    let queries = folders.iter().flat_map(|folder| &folder.queries);
    twice("query", queries.map(|named| (&named.name, &named.file)), problems);
    let datasets = folders.iter().flat_map(|folder| &folder.datasets);
    twice("dataset", datasets.map(|named| (&named.name, &named.file)), problems);
}

fn twice<'a, N>(what: &str, named: impl Iterator<Item = (&'a N, &'a File)>, problems: &mut Vec<Problem>)
where
    N: Eq + Hash + std::fmt::Display + 'a,
{
    let mut seen: HashMap<&N, &File> = HashMap::new();
    for (name, file) in named {
        if let Some(first) = seen.get(name) {
            let message = format!("{what} '{name}' is there twice: {} has that name too", first.path);
            problems.push(Problem::of_file(&file.path, message));
        } else {
            seen.insert(name, file);
        }
    }
}

/// A bronze table reads a source of its own pipeline, and every source is read.
fn check_sources(pipelines: &[Read<'_>], drafts: &[Draft<'_>], problems: &mut Vec<Problem>) {
    for (folder, pipeline, places) in pipelines {
        let own = drafts.iter().filter(|draft| draft.pipeline == pipeline.name);
        let used: Vec<Use<'_>> = own
            .filter_map(|draft| match &draft.kind {
                Kind::Bronze { source, relation, payload } => {
                    Some(Use { draft, source: source.as_ref()?, relation: relation.as_ref(), payload })
                }
                Kind::Derived(_) => None,
            })
            .collect();
        for Use { draft, source: At { value, at }, relation, payload } in &used {
            let source = pipeline.sources.iter().find(|source| source.name == *value);
            match source.map(|source| &source.kind) {
                Some(SourceKind::Postgres(known)) => {
                    let others =
                        used.iter().filter(|other| other.source.value == *value && other.draft.name < draft.name);
                    let taken = others.filter_map(|other| Some((other.draft.name, &other.relation?.value)));
                    database::check_relation(known, *relation, taken, draft.contract, *at, problems);
                }
                Some(SourceKind::Files(FileSource { format, .. })) => {
                    if let Some(At { at, .. }) = relation {
                        problems.push(draft.contract.problem(*at, "'relation' belongs to a source of kind 'postgres'"));
                    }
                    if let Format::Csv(options) = format {
                        csv::check_payload(options, &payload.value, draft.contract, payload.at, problems);
                    }
                }
                None => {}
            }
            if source.is_none() {
                let hint = suggest(value, pipeline.sources.iter().map(|source| source.name.as_str()));
                problems.push(draft.contract.problem(*at, format!("unknown source '{value}'")).with_hint(hint));
            }
        }
        let Some(file) = &folder.manifest else {
            continue;
        };
        for (source, at) in pipeline.sources.iter().zip(places) {
            // All tables of a database are taken, those without a contract too.
            let is_files = matches!(source.kind, SourceKind::Files(_));
            if is_files && !used.iter().any(|used| used.source.value == source.name) {
                let hint = format!("write bronze/<table>.toml with source = \"{}\"", source.name);
                let message = format!("no bronze table reads source '{}'", source.name);
                problems.push(file.problem(*at, message).with_hint(hint));
            }
        }
    }
}

/// A bronze table's use of a source.
struct Use<'a> {
    draft: &'a Draft<'a>,
    source: &'a At<String>,
    relation: Option<&'a At<String>>,
    payload: &'a At<Fields>,
}

/// What SQL can read, with its schema where the declaration is sound.
fn relations(
    folders: &[Folder],
    drafts: &[Draft<'_>],
    references: &[Reference],
) -> BTreeMap<String, Option<SchemaRef>> {
    let mut relations: BTreeMap<String, Option<SchemaRef>> = BTreeMap::new();
    for folder in folders {
        relations.extend(folder.tables.iter().map(|files| (files.name.to_string(), None)));
        relations.extend(folder.references.iter().map(|named| (format!("reference.{}", named.name), None)));
    }
    relations.extend(drafts.iter().map(|draft| (draft.name.to_string(), draft.schema.clone())));
    relations.extend(references.iter().map(|known| (format!("reference.{}", known.name), Some(known.schema()))));
    relations
}

fn order_tables(
    drafts: &[Draft<'_>],
    defined: &[Option<Defined<'_>>],
    problems: &mut Vec<Problem>,
) -> Option<Vec<TableName>> {
    let mut reads = Reads::new();
    for (draft, defined) in drafts.iter().zip(defined) {
        let inputs = defined.iter().flat_map(|defined| &defined.reads);
        reads.entry(draft.name.clone()).or_default().extend(inputs.map(|(table, _)| table.clone()));
    }
    let cycles = match graph::order(&reads) {
        Ok(order) => return Some(order),
        Err(cycles) => cycles,
    };
    for cycle in cycles {
        let names: Vec<String> = cycle.iter().chain(cycle.first()).map(ToString::to_string).collect();
        let next = cycle.get(1).or(cycle.first());
        let first = drafts.iter().zip(defined).find(|(draft, _)| Some(draft.name) == cycle.first());
        let Some((_, Some(first))) = first else {
            continue;
        };
        let place = first.reads.iter().find(|(table, _)| Some(table) == next).map_or(Place::START, |(_, place)| *place);
        problems
            .push(first.sql.problem_at(place, format!("tables read each other in a cycle: {}", names.join(" -> "))));
    }
    None
}

fn definition(draft: &Draft<'_>, derived: Option<Definition>) -> Option<Definition> {
    match &draft.kind {
        Kind::Bronze { source, relation, payload } => Some(Definition::Bronze {
            source: source.as_ref()?.value.clone(),
            relation: relation.as_ref().map(|at| at.value.clone()),
            payload: payload.value.clone(),
        }),
        Kind::Derived(_) => derived,
    }
}

fn table(draft: &Draft<'_>, definition: Definition, inputs: &[String]) -> Table {
    Table {
        fingerprint: fingerprint(draft, inputs),
        shape: shape(draft, &definition, inputs),
        name: draft.name.clone(),
        pipeline: draft.pipeline.clone(),
        description: draft.description.clone(),
        columns: draft.columns.clone(),
        key: draft.key.clone(),
        subject: draft.subject.clone(),
        erased_with: draft.erased_with.as_ref().and_then(|at| at.value.parse().ok()),
        statistics: draft.statistics.clone(),
        sought: Vec::new(),
        expectations: draft.expectations.clone(),
        definition,
    }
}

/// Tells each table which of its columns the keys of others begin with.
fn tell_what_is_sought(tables: &mut HashMap<TableName, Table>) {
    let counted = tables.values().filter_map(Table::counts).flat_map(|counts| &counts.inputs);
    let inputs = tables.values().filter_map(Table::keyed).flat_map(|(_, inputs)| inputs).chain(counted);
    let column = |input: &KeyedInput| match input.key.first()? {
        Expr::Column(column) => Some((input.table.clone(), column.name.clone())),
        _ => None,
    };
    let sought: BTreeSet<(TableName, String)> = inputs.filter_map(column).collect();
    for (table, column) in sought {
        if let Some(table) = tables.get_mut(&table) {
            table.sought.push(column);
        }
    }
}

fn reference_texts(folders: &[Folder]) -> HashMap<&str, &str> {
    let references = folders.iter().flat_map(|folder| &folder.references);
    references.map(|named| (named.name.as_str(), named.file.text.as_str())).collect()
}

/// xxh3 of texts; their lengths keep a text that moves from one to the next from giving the same hash.
fn hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = Xxh3::new();
    for text in texts {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.digest()
}

/// Of all that decides the table's rows besides its inputs' rows.
fn fingerprint(draft: &Draft<'_>, inputs: &[String]) -> u64 {
    let own = [draft.contract.text.as_str(), draft.sql.map_or("", |sql| &sql.text)];
    hash(own.into_iter().chain(inputs.iter().map(String::as_str)))
}

/// The same without expectations, comments and descriptions.
fn shape(draft: &Draft<'_>, definition: &Definition, inputs: &[String]) -> u64 {
    let columns = draft.columns.iter().map(|column| (&column.name, &column.data_type, column.required));
    let own = format!("{:?} {:?} {:?} {definition:?}", columns.collect::<Vec<_>>(), draft.key, draft.statistics);
    hash(std::iter::once(own.as_str()).chain(inputs.iter().map(String::as_str)))
}

/// What a table reads besides rows: the references, and the type of its bronze input's payload.
fn input_texts(definition: &Definition, drafts: &[Draft<'_>], texts: &HashMap<&str, &str>) -> Vec<String> {
    let (inputs, references): (Vec<&TableName>, &[String]) = match definition {
        Definition::Bronze { .. } => (Vec::new(), &[]),
        Definition::ByRecord { input, references, .. } => (vec![input], references),
        Definition::ByKey { inputs, references, .. } | Definition::Surrogate { inputs, references, .. } => {
            (inputs.iter().map(|input| &input.table).collect(), references)
        }
        Definition::Whole { inputs, references, .. } => (inputs.iter().collect(), references),
    };
    let references = references.iter().map(|name| texts.get(name.as_str()).copied().unwrap_or_default().to_owned());
    let payload = |input: &&TableName| match drafts.iter().find(|draft| draft.name == *input).map(|draft| &draft.kind) {
        Some(Kind::Bronze { payload, .. }) => Some(type_name(&DataType::Struct(payload.value.clone()))),
        _ => None,
    };
    references.chain(inputs.iter().filter_map(payload)).collect()
}
