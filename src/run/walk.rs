//! The tables of a run, one after the other: those that fail take those that read them out of it, and those that failed by
//! what may pass are tried again.

use std::collections::HashMap;

use super::TableReport;
use crate::contract::{Table, TableName};
use crate::error::{Error, Result};
use crate::retry::Retry;

/// What became of a table.
pub(super) enum Outcome {
    /// It is up to date.
    Done(TableReport),
    /// It failed, and is as it was.
    Failed(TableReport, Error),
    /// An input of it failed.
    LeftOut(TableReport),
}

/// Refreshes tables, whose inputs come before them. `after` is called after each table with those that are still to come, and
/// gives the outcomes of tables that no contract declares; `wait` before a further try, with its number and the tables.
pub(super) async fn walk<'a>(
    tables: &[&'a Table],
    retry: Retry,
    refresh: impl AsyncFn(&'a Table) -> Result<TableReport>,
    after: impl AsyncFn(&'a Table, &[&'a Table]) -> Vec<Outcome>,
    wait: impl AsyncFn(u32, &[&'a Table]),
) -> Vec<Outcome> {
    let mut outcomes: HashMap<&TableName, Outcome> = HashMap::new();
    let mut undeclared: Vec<Outcome> = Vec::new();
    let mut due = tables.to_vec();
    for further in 1.. {
        for (place, table) in due.iter().copied().enumerate() {
            let outcome = match broken_input(table, &outcomes) {
                Some(input) => Outcome::LeftOut(TableReport::left_out(table, input)),
                None => match refresh(table).await {
                    Ok(report) => Outcome::Done(report),
                    Err(error) => Outcome::Failed(TableReport::failed(table, &error), error),
                },
            };
            outcomes.insert(&table.name, outcome);
            undeclared.extend(after(table, &due[place + 1..]).await);
        }
        due = worth_another_try(tables, &outcomes);
        if due.is_empty() || further > retry.times {
            break;
        }
        wait(further, &due).await;
        due.iter().for_each(|table| drop(outcomes.remove(&table.name)));
    }
    let declared = tables.iter().filter_map(|table| outcomes.remove(&table.name));
    declared.chain(undeclared).collect()
}

fn broken_input<'a>(table: &'a Table, outcomes: &HashMap<&TableName, Outcome>) -> Option<&'a TableName> {
    let broken = |input: &&TableName| matches!(outcomes.get(*input), Some(Outcome::Failed(..) | Outcome::LeftOut(_)));
    table.inputs().into_iter().find(broken)
}

/// The tables that failed by what may pass, and those that were left out because of nothing else.
fn worth_another_try<'a>(tables: &[&'a Table], outcomes: &HashMap<&TableName, Outcome>) -> Vec<&'a Table> {
    let mut due: Vec<&Table> = Vec::new();
    let mut lost: Vec<&TableName> = Vec::new();
    for table in tables {
        let is_due = match outcomes.get(&table.name) {
            Some(Outcome::Failed(_, error)) => error.is_transient(),
            Some(Outcome::LeftOut(_)) => !table.inputs().iter().any(|input| lost.contains(input)),
            Some(Outcome::Done(_)) | None => continue,
        };
        if is_due {
            due.push(table);
        } else {
            lost.push(&table.name);
        }
    }
    due
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::contract::{self, Project};

    fn project() -> Project {
        contract::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/good")).unwrap()
    }

    /// Walks all tables, of which some fail as often as it says; gives the tries of each pass and how each table ended.
    async fn walked(project: &Project, times: u32, failing: &[(&str, usize, bool)]) -> (Vec<String>, String) {
        let tries: RefCell<Vec<Vec<String>>> = RefCell::new(vec![Vec::new()]);
        let refresh = async |table: &Table| {
            let name = table.name.to_string();
            let before = tries.borrow().iter().flatten().filter(|tried| **tried == name).count();
            tries.borrow_mut().last_mut().unwrap().push(name.clone());
            match failing.iter().find(|(failing, times, _)| *failing == name && before < *times) {
                Some((_, _, true)) => Err(Error::failed("busy").transient()),
                Some(_) => Err(Error::failed("broken")),
                None => Ok(TableReport::unchanged(table)),
            }
        };
        let wait = async |further: u32, _: &[&Table]| {
            assert_eq!(further as usize, tries.borrow().len());
            tries.borrow_mut().push(Vec::new());
        };
        let tables: Vec<&Table> = project.tables.iter().collect();
        let after = async |_: &Table, _: &[&Table]| Vec::new();
        let outcomes = walk(&tables, Retry { times, wait: Duration::ZERO }, refresh, after, wait).await;
        let ended = outcomes.iter().map(|outcome| match outcome {
            Outcome::Done(_) => "+",
            Outcome::Failed(..) => "!",
            Outcome::LeftOut(_) => "-",
        });
        let ended = ended.collect();
        (tries.into_inner().iter().map(|pass| pass.join(" ")).collect(), ended)
    }

    #[tokio::test]
    async fn what_may_pass_is_tried_again_with_what_it_held_up() {
        let project = project();
        let (tries, ended) = walked(&project, 3, &[("silver.items", 2, true)]).await;
        assert_eq!(ended, "++++++++");
        let rest = "silver.items silver.item_tags gold.item_notes gold.kinds_seen gold.monthly";
        assert_eq!(tries, ["bronze.events bronze.notes silver.items silver.notes", "silver.items", rest]);
    }

    #[tokio::test]
    async fn what_something_broken_holds_up_too_is_not_tried_again() {
        let failing = [("silver.items", 1, true), ("silver.notes", 9, false)];
        let (tries, ended) = walked(&project(), 3, &failing).await;
        assert_eq!(ended, "++++!-++");
        assert_eq!(tries[1..], ["silver.items silver.item_tags gold.kinds_seen gold.monthly"]);
    }

    #[tokio::test]
    async fn tries_end() {
        let (tries, ended) = walked(&project(), 2, &[("bronze.events", 9, true)]).await;
        assert_eq!((tries.len(), ended.as_str()), (3, "!+--+---"));
        let (tries, _) = walked(&project(), 0, &[("bronze.events", 9, true)]).await;
        assert_eq!(tries.len(), 1);
    }

    #[tokio::test]
    async fn what_is_broken_is_not_tried_again_nor_what_reads_it() {
        let (tries, ended) = walked(&project(), 2, &[("bronze.events", 9, false)]).await;
        assert_eq!((tries.len(), ended.as_str()), (1, "!+--+---"));
    }
}
