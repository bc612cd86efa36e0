//! What every command takes: flags as typed, then what they come to with a profile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::contract::{self, Project, Query, Reference};
use crate::engine::Limits;
use crate::error::{Error, Result};
use crate::lake::{Durability, LEASE_EXPIRY, Lake};
use crate::pipeline_test::{self, Case};
use crate::profile::{self, Profile};
use crate::run::Inputs;
use crate::units::parse_size;
use crate::variables::Variables;

/// What every command takes, as typed.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Flags {
    /// Where the tables are [default: the profile's, else lake]
    #[arg(long, global = true, value_name = "URI")]
    pub lake: Option<String>,
    /// Where the sources are looked for [default: the profile's, else data]
    #[arg(long, global = true, value_name = "URI")]
    pub data: Option<String>,
    /// The folder that holds pipelines/ and profiles/
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    pub project: PathBuf,
    /// The client to work for: profiles/NAME.toml has the lake, the data and more; flags given here win over it
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Whether commits survive a power cut (full) or only the end of the process (none) [default: the profile's, else full]
    #[arg(long, global = true, value_name = "HOW")]
    pub durability: Option<Durability>,
    /// Seconds of silence after which a run on an object store counts as dead
    #[arg(long, global = true, default_value_t = LEASE_EXPIRY.as_secs(), value_name = "SECONDS", hide = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub lease_expiry: u64,
    /// How logs are written, to standard error
    #[arg(long, global = true, default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// More logs; twice for those of the libraries
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What sorts, joins and aggregations may hold in memory before they spill to disk [default: the profile's, else 256MB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<usize>,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogFormat {
    /// A line an event, for people.
    Text,
    /// A JSON object a line, for machines.
    Json,
}

impl Flags {
    /// What the flags come to, with the profile that they name if they name one.
    ///
    /// # Errors
    /// When there is no such profile, or every problem that it has.
    pub fn resolve(&self) -> Result<Global> {
        let profile = self.profile.as_ref().map(|name| profile::load(&self.project, name)).transpose()?;
        Ok(self.over(profile))
    }

    /// The flags over a profile, and the defaults under both.
    pub fn over(&self, profile: Option<Profile>) -> Global {
        let of = profile.as_ref();
        let place = |flag: &Option<String>, profiles: Option<&String>, default: &str| {
            flag.as_ref().or(profiles).map_or_else(|| default.to_owned(), String::clone)
        };
        Global {
            lake: place(&self.lake, of.map(|profile| &profile.lake), "lake"),
            data: place(&self.data, of.map(|profile| &profile.data), "data"),
            project: self.project.clone(),
            lease_expiry: self.lease_expiry,
            durability: self.durability.or(of.and_then(|profile| profile.durability)).unwrap_or_default(),
            memory: self.memory.or(of.and_then(|profile| profile.memory)),
            profile,
        }
    }
}

/// What every command works with.
#[derive(Debug)]
pub struct Global {
    /// Where the tables are.
    pub lake: String,
    /// Where the sources are looked for.
    pub data: String,
    /// The folder that holds `pipelines/` and `profiles/`.
    pub project: PathBuf,
    lease_expiry: u64,
    pub durability: Durability,
    memory: Option<usize>,
    profile: Option<Profile>,
}

impl Global {
    /// The project, checked, and that it has what the profile names.
    ///
    /// # Errors
    /// Every problem that it has.
    pub fn project(&self) -> Result<Arc<Project>> {
        let project = contract::load(&self.project).map_err(|problems| Error::usage(problems.to_string()))?;
        let checked = self.profile.as_ref().map_or(Ok(()), |profile| profile.check(&project));
        checked.map_err(|problems| Error::usage(problems.to_string()))?;
        Ok(Arc::new(project))
    }

    /// One query of the project, and its references; `None` where it has no query of the name.
    ///
    /// # Errors
    /// Every problem that these have, see [`contract::load_query`].
    pub fn query(&self, name: &str) -> Result<Option<(Query, Vec<Reference>)>> {
        contract::load_query(&self.project, name).map_err(|problems| Error::usage(problems.to_string()))
    }

    /// The project's test cases.
    ///
    /// # Errors
    /// Every problem that they have.
    pub fn cases(&self, project: &Project) -> Result<Vec<Case>> {
        pipeline_test::load(project, &self.project).map_err(|problems| Error::usage(problems.to_string()))
    }

    /// The lake.
    ///
    /// # Errors
    /// When its URI is wrong.
    pub fn lake(&self) -> Result<Lake> {
        Ok(Lake::at(&self.lake, self.durability)?.with_lease_expiry(Duration::from_secs(self.lease_expiry)))
    }

    /// Where sources are, and what their variables stand for.
    ///
    /// # Errors
    /// When a secret of the profile cannot be had.
    pub fn inputs(&self) -> Result<Inputs> {
        let variables = self.profile.as_ref().map_or_else(|| Ok(Variables::default()), Profile::variables)?;
        Ok(Inputs { data: self.data.clone(), variables })
    }

    /// What the engine may use.
    pub fn limits(&self) -> Limits {
        let limits = Limits::default();
        Limits { memory: self.memory.unwrap_or(limits.memory), ..limits }
    }

    /// The pipelines that the profile names; all when empty.
    pub fn pipelines(&self) -> Vec<String> {
        self.profile.as_ref().map(Profile::pipelines).unwrap_or_default()
    }
}
