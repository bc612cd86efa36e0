//! Random schedules: whatever a lake is put through, with faults at random operations, of reading too.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::ward::{Action, Ward, assert_state, disturbed, lake, release, rows, runtime, state};
use super::{KINDS, on_large_stack};
use crate::faults::Faults;

/// What was tried.
#[derive(Debug, Default)]
struct Figures {
    lakes: u64,
    actions: u64,
    faults: u64,
    failed: u64,
}

/// `MEDALHA_SWEEP` gives seconds and seed, as in `600 1`; what was tried goes to standard error.
#[test]
#[ignore = "takes as long as it is given: scripts/sweep; its figures stand in the README"]
fn random_schedules() {
    let given = std::env::var("MEDALHA_SWEEP").unwrap_or_else(|_| "60 1".to_owned());
    let (seconds, seed) = given.split_once(' ').expect("seconds and seed");
    let (seconds, first): (u64, u64) = (seconds.parse().unwrap(), seed.parse().unwrap());
    let mut figures = Figures::default();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        let seed = first + figures.lakes;
        eprintln!("seed {seed}");
        let ward = Ward::new();
        on_large_stack(|| runtime().block_on(schedule(&ward, seed, &mut figures)));
        figures.lakes += 1;
    }
    eprintln!("{figures:?} in {:.0?}, from seed {first}", begun.elapsed());
}

/// A lake from its first run on: several actions with faults, then a plain run.
async fn schedule(ward: &Ward, seed: u64, figures: &mut Figures) {
    let mut random = StdRng::seed_from_u64(seed);
    let folder = ward.path("lake");
    let mut delivered = 0;
    let mut story = vec![format!("seed {seed}")];
    for _ in 0..random.random_range(4..12) {
        if delivered == 0 || random.random_ratio(1, 2) {
            ward.deliver(delivered);
            delivered += 1;
        }
        let action = action(&mut random);
        let faults = faults(&mut random);
        let outcome = ward.act(disturbed(&folder, &faults), &action).await;
        figures.actions += 1;
        figures.faults += faults.met();
        figures.failed += u64::from(outcome.is_err());
        story.push(format!("{delivered} delivered, {action:?}, {faults:?}: {outcome:?}"));
        readable(&folder, &story).await;
        if random.random_ratio(1, 3) {
            ward.recover(&folder, &story.join("\n")).await;
            story.push("a plain run".to_owned());
        }
    }
    let what = story.join("\n");
    ward.recover(&folder, &what).await;
    ward.assert_up_to_date(&folder, &what).await;
    let fresh = ward.path("fresh");
    ward.act(lake(&fresh), &Action::Run).await.unwrap();
    let of = async |folder| {
        let mut state = state(&lake(folder)).await;
        // Batches are cut otherwise.
        for row in state.get_mut("bronze.stay_events").unwrap() {
            row.as_object_mut().unwrap().retain(|column, _| column != "_batch");
        }
        let quarantine = state.get_mut("silver.quarantine").unwrap();
        quarantine.retain(|row| row["status"] == "open");
        state.values_mut().for_each(|rows| rows.sort_by_cached_key(ToString::to_string));
        state
    };
    assert_state(&of(&folder).await, &of(&fresh).await, &what);
}

fn action(random: &mut StdRng) -> Action {
    match random.random_range(0..10) {
        0 => Action::FullRefresh,
        1 | 2 => Action::Maintain,
        3 => Action::Restore(["bronze.stay_events", "silver.stays", "gold.wards"].choose(random).unwrap(), 2),
        4 => Action::RestoreRelease(random.random_range(1..4)),
        _ => Action::Run,
    }
}

/// Few or many, of changes alone or of reads too.
fn faults(random: &mut StdRng) -> std::sync::Arc<Faults> {
    let (reads, every) = (random.random_ratio(1, 2), *[10, 50, 200].choose(random).unwrap());
    let plan: Vec<_> = (1..2000)
        .filter(|_| random.random_ratio(1, every))
        .collect::<Vec<u64>>()
        .into_iter()
        .map(|number| (number, *KINDS.choose(random).unwrap()))
        .collect();
    Faults::of(plan, reads)
}

/// All tables can be read, and all of the newest release.
async fn readable(folder: &std::path::Path, story: &[String]) {
    let lake = lake(folder);
    for name in lake.tables().await.unwrap() {
        assert!(lake.open(&name).await.is_ok_and(|table| table.is_some()), "{name} after {}", story.join("\n"));
        rows(&lake, &name, None).await;
    }
    release(&lake).await;
}
