//! Checks contracts side by side: planning their SQL is most of the time of a run that finds nothing new.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::problem::Problem;

/// Does some work for each item, by as many threads as the machine runs at a time. What it gives, and the problems that it
/// finds, are in the order of the items.
pub(super) fn for_each<T: Sync, R: Send>(
    items: &[T],
    problems: &mut Vec<Problem>,
    work: impl Fn(&T, &mut Vec<Problem>) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let take = || {
        let mut done = Vec::new();
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            let mut found = Vec::new();
            let result = work(item, &mut found);
            done.push((at, result, found));
        }
        done
    };
    let others = thread::available_parallelism().map_or(0, NonZeroUsize::get).min(items.len()).saturating_sub(1);
    let mut done = thread::scope(|scope| {
        // A thread that cannot be had leaves its work to the others.
        let threads: Vec<_> =
            (0..others).map_while(|_| thread::Builder::new().spawn_scoped(scope, take).ok()).collect();
        let mut done = take();
        for thread in threads {
            done.extend(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(at, ..)| *at);
    let results = done.into_iter().map(|(_, result, found)| {
        problems.extend(found);
        result
    });
    results.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_and_problems_are_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..500).collect();
        let mut problems = vec![Problem::of_file("before", "it was there")];
        let squares = for_each(&items, &mut problems, |item, problems| {
            if item % 7 == 0 {
                problems.push(Problem::of_file("item", item.to_string()));
            }
            item * item
        });
        assert!(squares.into_iter().eq((0..500).map(|item| item * item)));
        let messages: Vec<String> = problems.iter().map(|problem| problem.message.clone()).collect();
        let expected = (0..500).filter(|item| item % 7 == 0).map(|item| item.to_string());
        assert!(messages.into_iter().eq(std::iter::once("it was there".to_owned()).chain(expected)));
    }

    #[test]
    fn nothing_is_done_for_no_items() {
        assert!(for_each(&[] as &[u32], &mut Vec::new(), |item, _| *item).is_empty());
    }
}
