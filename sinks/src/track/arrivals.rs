//! Whether everything has been judged that had arrived in `raw` by some time: a suppress must not overtake a proof of life that waits for the processor.
//! No I/O.

use std::collections::{BTreeSet, HashMap};

/// A processor that is behind for so long is worth a line.
const LONG_MS: i64 = 60_000;

/// What is known of the partitions of which somebody asked.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    asked: BTreeSet<i32>,
    marks: HashMap<i32, Mark>,
    /// What had arrived by then has been judged, Unix milliseconds.
    judged: HashMap<i32, i64>,
}

/// An end of `raw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    /// When it was the end, Unix milliseconds.
    at: i64,
    /// The offset behind the last record.
    end: i64,
    /// It was said that it takes long.
    told: bool,
}

/// What Kafka said.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Before anything was asked, Unix milliseconds.
    pub(super) at: i64,
    /// First offset and end of partitions in `raw`.
    pub(super) bounds: HashMap<i32, (i64, i64)>,
    /// Where the processor goes on.
    pub(super) committed: HashMap<i32, i64>,
}

impl Arrivals {
    /// True if everything has been judged that had arrived in a partition by `since`. If not, it is to be found out.
    pub(super) fn are_judged(&mut self, partition: i32, since: i64) -> bool {
        let are_judged = self.judged.get(&partition).is_some_and(|through| *through >= since);
        if !are_judged {
            self.asked.insert(partition);
        }
        are_judged
    }

    /// The partitions of which somebody waits to hear, and those of them that are marked already.
    pub(super) fn questions(&self) -> (Vec<i32>, Vec<i32>) {
        self.asked.iter().copied().partition(|partition| !self.marks.contains_key(partition))
    }

    /// Takes what was found out; the partitions of which there is news.
    pub(super) fn learn(&mut self, survey: &Survey) -> Vec<i32> {
        for (partition, (start, end)) in &survey.bounds {
            let mark = Mark { at: survey.at, end: *end, told: false };
            if start == end {
                // Nothing is there, so nobody need have read it.
                self.reached(*partition, mark);
            } else if self.asked.contains(partition) {
                self.marks.entry(*partition).or_insert(mark);
            }
        }
        let is_reached = |(partition, mark): &(&i32, &Mark)| survey.committed.get(partition).is_some_and(|next| *next >= mark.end);
        let reached: Vec<(i32, Mark)> = self.marks.iter().filter(is_reached).map(|(partition, mark)| (*partition, *mark)).collect();
        for (partition, mark) in &reached {
            self.reached(*partition, *mark);
        }
        let empty = survey.bounds.iter().filter(|(_, (start, end))| start == end).map(|(partition, _)| *partition);
        empty.chain(reached.iter().map(|(partition, _)| *partition)).collect()
    }

    fn reached(&mut self, partition: i32, mark: Mark) {
        self.marks.remove(&partition);
        self.asked.remove(&partition);
        self.judged.insert(partition, mark.at);
    }

    /// The partitions that have newly waited for long.
    pub(super) fn late(&mut self, now: i64) -> Vec<i32> {
        let late = self.marks.iter_mut().filter(|(_, mark)| !mark.told && now - mark.at >= LONG_MS);
        late.map(|(partition, mark)| {
            mark.told = true;
            *partition
        })
        .collect()
    }

    /// Partitions in which somebody waits.
    pub(super) fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// A partition went.
    pub(super) fn forget(&mut self, partition: i32) {
        self.asked.remove(&partition);
        self.marks.remove(&partition);
        self.judged.remove(&partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(at: i64, bounds: &[(i32, (i64, i64))], committed: &[(i32, i64)]) -> Survey {
        Survey { at, bounds: bounds.iter().copied().collect(), committed: committed.iter().copied().collect() }
    }

    #[test]
    fn what_had_arrived_is_judged_once_the_processor_has_come_to_the_end_of_then() {
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.are_judged(3, 1_000));
        assert_eq!(arrivals.questions(), (vec![3], vec![]));
        assert!(arrivals.learn(&survey(1_100, &[(3, (0, 50))], &[(3, 40)])).is_empty());
        assert!(!arrivals.are_judged(3, 1_000));
        assert_eq!(arrivals.questions(), (vec![], vec![3]), "the end of then counts, however much comes later");
        assert!(arrivals.learn(&survey(1_200, &[], &[(3, 49)])).is_empty());
        assert_eq!(arrivals.learn(&survey(1_300, &[], &[(3, 50)])), [3]);
        assert!(arrivals.are_judged(3, 1_100) && !arrivals.are_judged(3, 1_101));
        arrivals.forget(3);
        assert!(!arrivals.are_judged(3, 1_100), "another owner may have come between");
    }

    #[test]
    fn of_an_empty_partition_nobody_need_have_read_anything_and_of_another_one_somebody_must() {
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.are_judged(0, 1_000) && !arrivals.are_judged(1, 1_000));
        assert_eq!(arrivals.learn(&survey(1_100, &[(0, (70, 70)), (1, (0, 1))], &[])), [0]);
        assert!(arrivals.are_judged(0, 1_000) && !arrivals.are_judged(1, 1_000));
        assert_eq!(arrivals.waiting(), 1);
        assert!(arrivals.late(1_100 + LONG_MS - 1).is_empty());
        assert_eq!(arrivals.late(1_100 + LONG_MS), [1]);
        assert!(arrivals.late(1_100 + 2 * LONG_MS).is_empty(), "said once");
    }
}
