//! The order of tables: inputs before their users, or the cycle that makes it impossible.

use std::collections::{BTreeMap, BTreeSet};

use super::TableName;

/// Which tables each table reads.
pub(super) type Reads = BTreeMap<TableName, BTreeSet<TableName>>;

/// All tables, inputs before their users, else by name.
///
/// # Errors
/// Each cycle once, as the tables on it in the order of reading, the smallest name first.
pub(super) fn order(reads: &Reads) -> Result<Vec<TableName>, Vec<Vec<TableName>>> {
    let mut done: Vec<TableName> = Vec::new();
    let mut waiting: BTreeSet<&TableName> = reads.keys().collect();
    while let Some(next) = waiting.iter().copied().find(|table| is_ready(reads, table, &waiting)) {
        waiting.remove(next);
        done.push(next.clone());
    }
    if waiting.is_empty() { Ok(done) } else { Err(cycles(reads, &waiting)) }
}

fn is_ready(reads: &Reads, table: &TableName, waiting: &BTreeSet<&TableName>) -> bool {
    reads.get(table).is_none_or(|inputs| inputs.iter().all(|input| !waiting.contains(input)))
}

/// Every table that waits reads one that waits, so following the first of them ends in a cycle.
fn cycles(reads: &Reads, waiting: &BTreeSet<&TableName>) -> Vec<Vec<TableName>> {
    let mut found: Vec<Vec<TableName>> = Vec::new();
    for start in waiting {
        let mut path: Vec<&TableName> = vec![start];
        while let Some(next) = path
            .last()
            .and_then(|last| reads.get(*last))
            .and_then(|inputs| inputs.iter().find(|input| waiting.contains(input)))
        {
            if let Some(at) = path.iter().position(|seen| *seen == next) {
                let cycle = smallest_first(&path[at..]);
                if !found.contains(&cycle) {
                    found.push(cycle);
                }
                break;
            }
            path.push(next);
        }
    }
    found
}

fn smallest_first(cycle: &[&TableName]) -> Vec<TableName> {
    let at = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or(0);
    cycle[at..].iter().chain(&cycle[..at]).map(|table| (*table).clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(pairs: &[(&str, &[&str])]) -> Reads {
        let name = |text: &&str| text.parse::<TableName>().unwrap();
        pairs.iter().map(|(table, inputs)| (name(table), inputs.iter().map(name).collect())).collect()
    }

    fn names(tables: &[TableName]) -> Vec<String> {
        tables.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn inputs_come_before_their_users() {
        let order = order(&reads(&[
            ("gold.a", &["gold.z", "silver.m"]),
            ("gold.z", &["silver.m"]),
            ("silver.m", &["bronze.e"]),
            ("bronze.e", &[]),
        ]));
        assert_eq!(names(&order.unwrap()), ["bronze.e", "silver.m", "gold.z", "gold.a"]);
    }

    #[test]
    fn each_cycle_is_named_once_and_users_of_it_are_not_on_it() {
        let cycles = order(&reads(&[
            ("gold.user", &["gold.b"]),
            ("gold.b", &["gold.a"]),
            ("gold.a", &["gold.b"]),
            ("gold.own", &["gold.own"]),
        ]))
        .unwrap_err();
        let mut cycles: Vec<Vec<String>> = cycles.iter().map(|cycle| names(cycle)).collect();
        cycles.sort();
        assert_eq!(cycles, [vec!["gold.a", "gold.b"], vec!["gold.own"]]);
    }
}
