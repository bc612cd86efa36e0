//! A profile's file, as typed, into a [`Profile`] or every problem.

use std::path::Path;

use url::Url;

use super::secret::{Secret, looks_secret};
use super::{Profile, layout};
use crate::lake::Durability;
use crate::problem::{File, Problem, Problems};
use crate::toml::{At, Reader};
use crate::units::parse_size;
use crate::variables::is_name;

/// What to do with what must not be in a file that is copied and committed.
const NO_SECRETS: &str = "keep it in the environment, and name where under [secrets]: \
                          NAME = { variable = \"…\" } or { file = \"…\" }";

/// Reads a profile; `path` is relative to the project.
pub(super) fn profile(project_dir: &Path, path: &str) -> Result<Profile, Problems> {
    let file = File::read(project_dir, path).map_err(|problem| Problems(vec![problem]))?;
    let mut problems = Vec::new();
    let profile = read(project_dir, &file, &mut problems);
    match profile {
        Some(profile) if problems.is_empty() => Ok(profile),
        _ => Err(Problems::sorted(problems)),
    }
}

fn read(project_dir: &Path, file: &File, problems: &mut Vec<Problem>) -> Option<Profile> {
    let mut reader = Reader::open(file, &file.text, problems)?;
    let description = reader.description();
    let (lake, data) = (place(&mut reader, "lake"), place(&mut reader, "data"));
    let durability = reader.optional_choice("durability", &[("full", Durability::Full), ("none", Durability::None)]);
    let memory = memory(&mut reader);
    let pipelines = reader.names("pipelines").map_or_else(Vec::new, |names| names.value);
    let variables: Vec<_> = reader.texts("variables");
    let secrets = secrets(&mut reader);
    for (name, value) in &variables {
        check_variable(&mut reader, name, value);
    }
    for (name, _) in &secrets {
        check_name(&mut reader, name);
        if variables.iter().any(|(known, _)| known.value == name.value) {
            reader.report(name.at, format!("'{}' stands under [variables] too", name.value), None);
        }
    }
    reader.finish();
    let (lake, data) = (lake?, data?);
    Some(Profile {
        name: layout::stem(&file.path).to_owned(),
        description,
        lake_place: file.place(lake.at),
        lake: below(project_dir, &lake.value),
        data: below(project_dir, &data.value),
        durability: durability.map(|at| at.value),
        memory,
        pipelines: pipelines.into_iter().map(|name| (name.value, file.place(name.at))).collect(),
        variables: variables.into_iter().map(|(name, value)| (name.value, value.value)).collect(),
        secrets: secrets.into_iter().map(|(name, secret)| (name.value, secret)).collect(),
        folder: project_dir.to_owned(),
        file: file.clone(),
    })
}

/// A path or URI that must be there; a password in it is refused.
fn place(reader: &mut Reader<'_, '_>, key: &'static str) -> Option<At<String>> {
    let place = reader.required(key)?;
    refuse_password(reader, key, &place);
    Some(place)
}

fn memory(reader: &mut Reader<'_, '_>) -> Option<usize> {
    let At { value, at } = reader.optional("memory")?;
    parse_size(&value).map_err(|message| reader.report(at, format!("'memory' is {message}"), None)).ok()
}

fn secrets(reader: &mut Reader<'_, '_>) -> Vec<(At<String>, Secret)> {
    let mut secrets = Vec::new();
    for (name, table) in reader.tables("secrets") {
        let mut entry = reader.within(name.at, table);
        let (variable, path) = (entry.optional("variable"), entry.optional("file"));
        let secret = match (variable, path) {
            (Some(variable), None) => {
                check_name(&mut entry, &variable);
                Some(Secret::Variable(variable.value))
            }
            (None, Some(path)) => Some(Secret::File(path.value)),
            _ => {
                let hint = "say where it is: { variable = \"…\" } or { file = \"…\" }".to_owned();
                entry.report(name.at, format!("'{}' needs either a variable or a file", name.value), Some(hint));
                None
            }
        };
        entry.finish();
        secrets.extend(secret.map(|secret| (name, secret)));
    }
    secrets
}

fn check_variable(reader: &mut Reader<'_, '_>, name: &At<String>, value: &At<String>) {
    check_name(reader, name);
    if looks_secret(&name.value) {
        reader.report(name.at, format!("'{}' looks like a secret", name.value), Some(NO_SECRETS.to_owned()));
    }
    refuse_password(reader, &name.value, value);
}

fn check_name(reader: &mut Reader<'_, '_>, name: &At<String>) {
    if !is_name(&name.value) {
        let hint = "letters, digits and _, no digit first".to_owned();
        reader.report(name.at, format!("'{}' cannot be a variable's name", name.value), Some(hint));
    }
}

/// The message does not show the value.
fn refuse_password(reader: &mut Reader<'_, '_>, key: &str, value: &At<String>) {
    if Url::parse(&value.value).is_ok_and(|url| url.password().is_some()) {
        reader.report(value.at, format!("'{key}' has a password in its URI"), Some(NO_SECRETS.to_owned()));
    }
}

/// A relative path is one below the project's folder; a URI stays.
fn below(project_dir: &Path, place: &str) -> String {
    if place.contains("://") { place.to_owned() } else { project_dir.join(place).display().to_string() }
}
