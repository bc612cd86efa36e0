//! One command for all profiles: one after the other, and what fails for one does not concern the others.

use tracing::Instrument;

use super::flags::{Flags, Global};
use super::output;
use crate::error::{Error, Kind, Result};
use crate::profile;

/// What came of a command for a profile.
pub struct Client<T> {
    /// The profile.
    pub name: String,
    /// Its result.
    pub result: Result<T>,
    /// The kinds of what failed; empty when all went well.
    pub failures: Vec<Kind>,
}

impl<T> Client<T> {
    /// The exit code of the command for this profile alone.
    pub fn exit_code(&self) -> u8 {
        worst(&self.failures).map_or(0, Kind::exit_code)
    }
}

/// Runs a command for each profile. `failures` says what of a result failed, and `shown` tells a person of it.
///
/// # Errors
/// When there is no profile, or a flag says what each profile says for itself.
pub async fn each<T>(
    flags: &Flags,
    command: impl AsyncFn(&Global) -> Result<T>,
    failures: impl Fn(&T) -> &[Error],
    shown: impl Fn(&str, &Result<T>) -> Result<()>,
) -> Result<Vec<Client<T>>> {
    let mut clients = Vec::new();
    for (name, profile) in load(flags)? {
        let result = match profile {
            Ok(profile) => {
                let span = tracing::error_span!("profile", name);
                command(&flags.over(Some(profile))).instrument(span).await
            }
            Err(problems) => Err(Error::usage(problems.to_string())),
        };
        let failed = match &result {
            Ok(done) => failures(done),
            Err(error) => std::slice::from_ref(error),
        };
        shown(&name, &result)?;
        failed.iter().for_each(|error| output::tell(&format!("error: {name}: {error}")));
        let failures = failed.iter().map(Error::kind).collect();
        clients.push(Client { name, result, failures });
    }
    Ok(clients)
}

fn load(flags: &Flags) -> Result<Vec<profile::Loaded>> {
    let own =
        [("--profile", flags.profile.is_some()), ("--lake", flags.lake.is_some()), ("--data", flags.data.is_some())];
    if let Some((flag, _)) = own.iter().find(|(_, given)| *given) {
        return Err(Error::usage(format!("{flag} and --all-profiles exclude each other"))
            .hint("each profile has a lake and data of its own"));
    }
    let profiles = profile::load_all(&flags.project).map_err(|problems| Error::usage(problems.to_string()))?;
    if profiles.is_empty() {
        return Err(Error::usage("there are no profiles")
            .hint(format!("they are files profiles/*.toml of {}", flags.project.display())));
    }
    Ok(profiles)
}

/// One error for all that failed, of the worst kind.
///
/// # Errors
/// When something failed.
pub fn verdict<T>(clients: &[Client<T>]) -> Result<()> {
    let failed: Vec<&Client<T>> = clients.iter().filter(|client| !client.failures.is_empty()).collect();
    let kinds: Vec<Kind> = failed.iter().flat_map(|client| client.failures.iter().copied()).collect();
    let Some(kind) = worst(&kinds) else { return Ok(()) };
    let names: Vec<&str> = failed.iter().map(|client| client.name.as_str()).collect();
    Err(Error::new(kind, format!("{} of {} profiles failed: {}", failed.len(), clients.len(), names.join(", "))))
}

/// The kind that decides the exit code: first what may be right at the next try, so that a scheduler tries again; a held
/// lease only where nothing else is wrong.
fn worst(kinds: &[Kind]) -> Option<Kind> {
    [Kind::Failed, Kind::Expectation, Kind::Usage, Kind::Lease].into_iter().find(|kind| kinds.contains(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(name: &str, failures: &[Kind]) -> Client<()> {
        Client { name: name.to_owned(), result: Ok(()), failures: failures.to_vec() }
    }

    #[test]
    fn the_worst_failure_decides_and_a_held_lease_is_the_least() {
        let code = |kinds: &[Kind]| client("a", kinds).exit_code();
        assert_eq!(code(&[]), 0);
        assert_eq!(code(&[Kind::Lease]), 4);
        assert_eq!(code(&[Kind::Lease, Kind::Usage]), 2);
        assert_eq!(code(&[Kind::Usage, Kind::Expectation]), 3);
        assert_eq!(code(&[Kind::Expectation, Kind::Failed, Kind::Lease]), 1);
        let clients = [client("a", &[]), client("b", &[Kind::Lease]), client("c", &[Kind::Expectation])];
        let error = verdict(&clients).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Expectation, "2 of 3 profiles failed: b, c"));
        assert!(verdict(&clients[..1]).is_ok());
    }
}
