//! The places that a project runs for: `profiles/<name>.toml` says which lake and data a client has, which pipelines run
//! there, and what their variables stand for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::contract::Project;
use crate::error::{Error, Result};
use crate::lake::Durability;
use crate::problem::{File, Place, Problem, Problems, suggest};
use crate::variables::Variables;

mod layout;
mod read;
mod secret;

use secret::Secret;

/// A profile, validated but for what only a project or this machine can tell.
#[derive(Debug, Clone)]
pub struct Profile {
    /// The file's name without `.toml`.
    pub name: String,
    /// Whom it is for.
    pub description: String,
    /// Where the tables are: a URI, or an absolute path or one below the project's folder.
    pub lake: String,
    /// Where the sources are looked for, likewise.
    pub data: String,
    /// Whether commits survive a power cut, where the profile says so.
    pub durability: Option<Durability>,
    /// Bytes that sorts, joins and aggregations may hold in memory, where the profile says so.
    pub memory: Option<usize>,
    file: File,
    lake_place: Place,
    pipelines: Vec<(String, Place)>,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret>,
    folder: PathBuf,
}

impl Profile {
    /// The pipelines that run for it; all when empty.
    pub fn pipelines(&self) -> Vec<String> {
        self.pipelines.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The values of its variables, secrets among them; those are read now.
    ///
    /// # Errors
    /// When a secret cannot be had: its variable has no value, its file cannot be read or may be read by others. What the
    /// environment has under the same name is not taken instead: it may be another client's.
    pub fn variables(&self) -> Result<Variables> {
        let mut values = self.variables.clone();
        for (name, secret) in &self.secrets {
            let value = secret.read(&self.folder).map_err(|error| error.at(format!("{}: {name}", self.file.path)))?;
            values.insert(name.clone(), value);
        }
        Ok(Variables::new(values))
    }

    /// Checks that a project has the pipelines that it names.
    ///
    /// # Errors
    /// Each that is not there.
    pub fn check(&self, project: &Project) -> Result<(), Problems> {
        let unknown = self.pipelines.iter().filter(|(name, _)| project.pipeline(name).is_none());
        let problems: Vec<Problem> = unknown
            .map(|(name, place)| {
                let known = project.pipelines.iter().map(|pipeline| pipeline.name.as_str());
                self.file.problem_at(*place, format!("there is no pipeline '{name}'")).with_hint(suggest(name, known))
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(Problems::sorted(problems)) }
    }
}

/// A profile's name, and the profile or what is wrong with it.
pub type Loaded = (String, Result<Profile, Problems>);

/// Reads all profiles of a project, sorted by name. What is wrong with one does not concern the others.
///
/// # Errors
/// When the folder cannot be read, or holds what is no profile.
pub fn load_all(project_dir: &Path) -> Result<Vec<Loaded>, Problems> {
    let mut profiles: Vec<Loaded> = Vec::new();
    for path in layout::files(project_dir)? {
        let name = layout::stem(&path).to_owned();
        let profile = read::profile(project_dir, &path).and_then(|profile| check_lake(profile, &profiles));
        profiles.push((name, profile));
    }
    Ok(profiles)
}

/// Reads one profile of a project.
///
/// # Errors
/// When there is no such profile, or every problem that it has.
pub fn load(project_dir: &Path, name: &str) -> Result<Profile> {
    let profiles = load_all(project_dir).map_err(|problems| Error::usage(problems.to_string()))?;
    let names: Vec<String> = profiles.iter().map(|(name, _)| name.clone()).collect();
    let Some((_, profile)) = profiles.into_iter().find(|(known, _)| known == name) else {
        let hint = suggest(name, names.iter().map(String::as_str));
        let hint = hint.unwrap_or_else(|| format!("profiles are files profiles/*.toml of {}", project_dir.display()));
        return Err(Error::usage(format!("there is no profile '{name}'")).hint(hint));
    };
    profile.map_err(|problems| Error::usage(problems.to_string()))
}

/// A lake is one client's: two that share one by mistake would see each other's patients.
fn check_lake(profile: Profile, others: &[Loaded]) -> Result<Profile, Problems> {
    let place = |lake: &str| lake.trim_end_matches('/').to_owned();
    let taken = others.iter().filter_map(|(_, other)| other.as_ref().ok());
    match taken.into_iter().find(|other| place(&other.lake) == place(&profile.lake)) {
        None => Ok(profile),
        Some(other) => {
            let problem =
                profile.file.problem_at(profile.lake_place, format!("profile '{}' has this lake", other.name));
            let hint = "a lake holds one client's data; to run a part of it use --pipeline, --stage or --select";
            Err(Problems::sorted(vec![problem.with_hint(hint.to_owned())]))
        }
    }
}

#[cfg(test)]
mod tests;
