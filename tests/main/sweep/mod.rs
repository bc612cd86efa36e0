//! Faults at every operation of the store: whatever fails, is lost or dies there, a reader meets nothing half, and the next
//! run ends with the rows of one that nobody disturbed.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::faults::{Fault, Faults};

mod erasure;
mod random;
mod ward;

use ward::{Action, State, Ward, assert_state, copy, disturbed, history, lake, release, runtime, state};

/// What can happen to a store that keeps its promises.
const KINDS: [Fault; 3] = [Fault::Fails, Fault::Unanswered, Fault::Dies];
/// Points that are tried at a time.
const WORKERS: usize = 2;

/// An action on a lake, what its tables hold before and after it, and after the run that follows.
struct Scene {
    ward: Ward,
    base: PathBuf,
    action: Action,
    before: State,
    after: State,
    end: State,
    history: State,
    operations: u64,
}

impl Scene {
    /// Of a ward whose lake `base` is prepared.
    fn new(ward: Ward, action: Action) -> Self {
        let (base, undisturbed) = (ward.path("base"), ward.path("undisturbed"));
        let runtime = runtime();
        let faults = Faults::of([], false);
        let (before, after, end, history) = on_large_stack(|| {
            runtime.block_on(async {
                let before = state(&lake(&base)).await;
                copy(&base, undisturbed.clone());
                ward.act(disturbed(&undisturbed, &faults), &action).await.unwrap();
                let after = state(&lake(&undisturbed)).await;
                ward.recover(&undisturbed, "undisturbed").await;
                (before, after, state(&lake(&undisturbed)).await, history(&lake(&undisturbed)).await)
            })
        });
        Self { ward, base, action, before, after, end, history, operations: faults.counted() }
    }

    /// Tries faults at operations, some at a time, and gives how many were met.
    fn sweep(&self, kinds: impl Fn(u64) -> Vec<Fault>) -> u64 {
        let points: Vec<(u64, Fault)> = (1..=self.operations)
            .flat_map(|number| kinds(number).into_iter().map(move |fault| (number, fault)))
            .collect();
        let (next, met) = (AtomicUsize::new(0), AtomicU64::new(0));
        let work = |worker: usize| {
            let runtime = runtime();
            while let Some((number, fault)) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                let folder = copy(&self.base, self.ward.path(&format!("lake-{worker}")));
                met.fetch_add(runtime.block_on(self.point(&folder, *number, *fault)), Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| {
            let start = |worker| {
                let thread = std::thread::Builder::new().stack_size(16 << 20);
                thread.spawn_scoped(scope, move || work(worker)).unwrap()
            };
            let workers: Vec<_> = (0..WORKERS).map(start).collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        });
        let met = met.into_inner();
        eprintln!("{:?}: {} operations, {} points, {met} faults met", self.action, self.operations, points.len());
        // Where tasks race, the last operation may be another one.
        assert!(met as usize * 10 >= points.len() * 9, "only {met} of {} faults were met", points.len());
        met
    }

    /// One fault at one operation; how many were met.
    async fn point(&self, folder: &Path, number: u64, fault: Fault) -> u64 {
        let what = format!("{:?}: {fault:?} at operation {number} of {}", self.action, self.operations);
        let faults = Faults::of([(number, fault)], false);
        let outcome = self.ward.act(disturbed(folder, &faults), &self.action).await;
        if faults.met() == 0 {
            assert!(outcome.is_ok(), "{what}: not met, yet {}", outcome.unwrap_err());
        }
        self.check_readers(folder, &what).await;
        // A restore that failed before it changed anything is for its user to repeat: no run carries it out.
        let is_restore = matches!(self.action, Action::Restore(..) | Action::RestoreRelease(_));
        let is_not_begun = is_restore && outcome.is_err() && state(&lake(folder)).await == self.before;
        self.check_recovery(folder, if is_not_begun { &self.before } else { &self.end }, &what).await;
        faults.met()
    }

    /// Each table is as it was before or as it is after; a release is wholly the one or the other.
    async fn check_readers(&self, folder: &Path, what: &str) {
        let now = state(&lake(folder)).await;
        let names = now.keys().chain(self.before.keys()).chain(self.after.keys());
        for name in names {
            let (now, before, after) = (now.get(name), self.before.get(name), self.after.get(name));
            assert!(now == before || now == after, "{what}: {name} is neither old nor new: {now:#?}");
        }
        let release = release(&lake(folder)).await;
        let is_whole = [&State::new(), &self.before, &self.after].into_iter().any(|state| release == *state);
        assert!(is_whole, "{what}: half a release: {release:#?}");
    }

    /// Whether the next run says that something is torn; else it ends with the right rows.
    async fn is_torn_told(&self, folder: &Path, faults: &Arc<Faults>) -> bool {
        let _ = self.ward.act(disturbed(folder, faults), &self.action).await;
        let again = self.ward.act(lake(folder), &Action::Run).await;
        if again.is_ok() {
            assert_state(&state(&lake(folder)).await, &self.end, "a run over what is torn");
        }
        again.is_err()
    }

    async fn check_recovery(&self, folder: &Path, end: &State, what: &str) {
        self.ward.recover(folder, what).await;
        assert_state(&state(&lake(folder)).await, end, what);
        if self.action == Action::Run {
            self.ward.assert_up_to_date(folder, what).await;
            assert_state(&history(&lake(folder)).await, &self.history, what);
        }
    }
}

/// Unoptimised, the planning of SQL takes more stack than a test's thread has.
fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, work).unwrap();
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

/// A ward whose base lake took so many increments, each in a run of its own.
fn ward_with(increments: u32) -> Ward {
    let ward = Ward::new();
    let runtime = runtime();
    on_large_stack(|| {
        for number in 0..increments {
            ward.deliver(number);
            runtime.block_on(ward.act(lake(&ward.path("base")), &Action::Run)).unwrap();
        }
    });
    ward
}

fn first_run() -> Scene {
    let ward = Ward::new();
    ward.deliver(0);
    ward.deliver(1);
    Scene::new(ward, Action::Run)
}

fn increment() -> Scene {
    let ward = ward_with(2);
    ward.deliver(2);
    Scene::new(ward, Action::Run)
}

fn maintenance() -> Scene {
    Scene::new(ward_with(4), Action::Maintain)
}

fn refreshed() -> Scene {
    Scene::new(ward_with(2), Action::FullRefresh)
}

fn restored() -> Scene {
    Scene::new(ward_with(3), Action::RestoreRelease(1))
}

fn restored_table() -> Scene {
    Scene::new(ward_with(3), Action::Restore("silver.stays", 2))
}

fn mended() -> Scene {
    let mut ward = ward_with(2);
    ward.allow_days(20);
    Scene::new(ward, Action::Retry)
}

/// All kinds in turn, so that each operation meets one of them.
fn in_turn(number: u64) -> Vec<Fault> {
    vec![KINDS[number as usize % KINDS.len()]]
}

#[test]
fn at_every_operation_of_a_first_run() {
    first_run().sweep(in_turn);
}

#[test]
fn at_every_operation_of_an_increment() {
    increment().sweep(in_turn);
}

/// Each deletes or writes what the one before it did to another table: `scripts/sweep` tries all of them.
#[test]
fn at_every_fifth_operation_of_maintenance() {
    maintenance().sweep(|number| if number.is_multiple_of(5) { in_turn(number) } else { Vec::new() });
}

#[test]
fn at_every_operation_of_a_retry() {
    mended().sweep(in_turn);
}

#[test]
fn at_every_operation_of_a_restore() {
    restored().sweep(in_turn);
}

#[test]
#[ignore = "takes minutes: scripts/sweep"]
fn every_fault_at_every_operation() {
    let scenes = [first_run, increment, refreshed, maintenance, mended, restored, restored_table];
    let met: u64 = scenes.into_iter().map(|scene| scene().sweep(|_| KINDS.to_vec())).sum();
    eprintln!("{met} faults met in all, each before a run that made it good");
}

/// On a store that gives a name before the bytes are there, which ours does not, what is torn cannot always be told; but no
/// run may take it for whole and say that all is well with other rows.
#[test]
#[ignore = "takes minutes: scripts/sweep"]
fn torn_under_its_final_name() {
    let scene = increment();
    let (folder, runtime) = (scene.ward.path("lake"), runtime());
    let mut told = 0;
    for number in 1..=scene.operations {
        copy(&scene.base, folder.clone());
        let faults = Faults::of([(number, Fault::Tears)], false);
        told += u64::from(on_large_stack(|| runtime.block_on(scene.is_torn_told(&folder, &faults))));
    }
    eprintln!("of {} operations torn, {told} were told of, the others made good", scene.operations);
}

/// What stands in the environment of a process that is to be killed: its sandbox, its lake, the operation.
const TO_BE_KILLED: &str = "MEDALHA_TO_BE_KILLED";

#[test]
fn a_process_that_is_killed_at_operations_of_an_increment() {
    let scene = increment();
    let folder = scene.ward.path("lake");
    let runtime = runtime();
    for number in (1..=scene.operations).step_by(7) {
        copy(&scene.base, folder.clone());
        let root = scene.ward.path("");
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "sweep::a_process_to_be_killed"])
            .env(TO_BE_KILLED, format!("{number} {}", root.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), None, "it ended by itself before operation {number}");
        on_large_stack(|| {
            runtime.block_on(async {
                let what = format!("killed before operation {number} of {}", scene.operations);
                scene.check_readers(&folder, &what).await;
                scene.check_recovery(&folder, &scene.end, &what).await;
            });
        });
    }
}

#[test]
#[ignore = "started by the test above"]
fn a_process_to_be_killed() {
    let text = std::env::var(TO_BE_KILLED).unwrap();
    let (number, root) = text.split_once(' ').unwrap();
    let ward = Ward::at(Path::new(root));
    let faults = Faults::of([(number.parse().unwrap(), Fault::Kills)], false);
    let over = disturbed(&Path::new(root).join("lake"), &faults);
    on_large_stack(|| runtime().block_on(ward.act(over, &Action::Run))).unwrap();
}
