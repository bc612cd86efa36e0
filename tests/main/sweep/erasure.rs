//! An erasure that is disturbed anywhere: done again, it leaves nothing, and all else is as if the stay had never come.

use std::path::{Path, PathBuf};

use super::ward::{Action, State, Ward, assert_state, copy, disturbed, lake, runtime, state};
use super::{KINDS, on_large_stack};
use crate::erase::traces_below;
use crate::faults::{Fault, Faults};

/// A stay whose id is a part of no other text.
const STAY: &str = "777123456";
const ERASE: Action = Action::Erase(STAY);

struct Erasure<'a> {
    ward: &'a Ward,
    base: PathBuf,
    end: State,
    operations: u64,
}

impl<'a> Erasure<'a> {
    /// Of a lake with two increments, the first with the stay, after maintenance.
    async fn prepare(ward: &'a Ward) -> Self {
        let (base, without, undisturbed) = (ward.path("base"), ward.path("without"), ward.path("undisturbed"));
        for (folder, stay) in [(&without, None), (&base, Some(STAY))] {
            ward.deliver(0);
            stay.inspect(|stay| ward.deliver_of(stay));
            ward.act(lake(folder), &Action::Run).await.unwrap();
            ward.act(lake(folder), &Action::Maintain).await.unwrap();
            ward.deliver(1);
            ward.act(lake(folder), &Action::Run).await.unwrap();
            std::fs::remove_file(ward.path("data/stays/001.json")).unwrap();
        }
        assert!(!traces_below(&base, &[STAY]).is_empty(), "the search finds what is there");
        let faults = Faults::of([], false);
        copy(&base, undisturbed.clone());
        ward.act(disturbed(&undisturbed, &faults), &ERASE).await.unwrap();
        Self { end: state(&lake(&without)).await, ward, base, operations: faults.counted() }
    }

    /// Faults at operations, each on a lake of its own; gives how many were met.
    async fn sweep(&self, kinds: impl Fn(u64) -> Vec<Fault>) -> u64 {
        let mut met = 0;
        for number in 1..=self.operations {
            for fault in kinds(number) {
                let folder = copy(&self.base, self.ward.path("lake"));
                let faults = Faults::of([(number, fault)], false);
                let _ = self.ward.act(disturbed(&folder, &faults), &ERASE).await;
                met += faults.met();
                self.check(&folder, &format!("{fault:?} at operation {number} of {}", self.operations)).await;
            }
        }
        eprintln!("{ERASE:?}: {} operations, {met} faults met", self.operations);
        met
    }

    async fn check(&self, folder: &Path, what: &str) {
        let again = self.ward.act(lake(folder), &ERASE).await;
        assert!(again.is_ok(), "{what}: {again:?}");
        assert_eq!(traces_below(folder, &[STAY]), Vec::<PathBuf>::new(), "{what}");
        self.ward.recover(folder, what).await;
        assert_state(&state(&lake(folder)).await, &self.end, what);
    }
}

fn sweep(kinds: impl Fn(u64) -> Vec<Fault> + Send) -> u64 {
    on_large_stack(|| {
        let (ward, runtime) = (Ward::new(), runtime());
        runtime.block_on(async { Erasure::prepare(&ward).await.sweep(kinds).await })
    })
}

#[test]
fn at_every_fifth_operation_of_an_erasure() {
    let met =
        sweep(|number| if number.is_multiple_of(5) { vec![KINDS[number as usize % KINDS.len()]] } else { vec![] });
    assert!(met > 3);
}

#[test]
#[ignore = "takes minutes: scripts/sweep"]
fn every_fault_at_every_operation_of_an_erasure() {
    sweep(|_| KINDS.to_vec());
}
