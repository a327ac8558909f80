//! From runs to the figures that are promised.

use crate::candidate::Candidate::{Echo, Ours, Recipe};
use crate::load::Run;
use crate::recipe;
use crate::rounds::Runs;
use aftersend_tests::bench::{Figure, Goal, Spread};

/// Of a complete benchmark.
pub(crate) const COUNT: usize = 8;

/// The runs of each part; none of those that were not asked for.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) full: Runs,
    pub(crate) one: Runs,
    pub(crate) half: Runs,
}

impl Measured {
    /// Whatever can be said. Ratios need their baseline; the rest stands without.
    pub(crate) fn figures(&self) -> anyhow::Result<Vec<Figure>> {
        let (full, one, half) = (&self.full, &self.one, &self.half);
        let p50 = |run: &Run| run.latency_ms(50.0);
        let p99 = |run: &Run| run.latency_ms(99.0);
        let p999 = |run: &Run| run.latency_ms(99.9);
        let resident = |run: &Run| run.usage.peak_mib;
        let echo = || Some("echo".to_owned());
        let recipe = || recipe::versions().map(Some);
        let rate = "requests/s";
        let all = [
            figure("requests_vs_echo", rate, full, Run::per_second, (Echo, echo()), Goal::RatioAtLeast(0.6)),
            figure("requests_vs_recipe", rate, full, Run::per_second, (Recipe, recipe()?), Goal::RatioAtLeast(20.0)),
            figure("cpu_vs_echo", "us/event", full, Run::cpu_us_per_event, (Echo, echo()), Goal::RatioAtMost(1.8)),
            figure("one_connection_p50_ms", "ms", one, p50, (Recipe, recipe()?), Goal::AtMost(0.5)),
            figure("one_connection_vs_recipe", rate, one, Run::per_second, (Recipe, recipe()?), Goal::RatioAtLeast(5.0)),
            figure("half_load_p99_ms", "ms", half, p99, (Echo, echo()), Goal::AtMost(15.0)),
            figure("half_load_p999_ms", "ms", half, p999, (Echo, echo()), Goal::AtMost(50.0)),
            figure("rss_mib", "MiB", full, resident, (Echo, echo()), Goal::AtMost(100.0)),
        ];
        Ok(all.into_iter().flatten().collect())
    }
}

type Baseline = (crate::candidate::Candidate, Option<String>);

fn figure(
    name: &'static str,
    unit: &'static str,
    runs: &Runs,
    value: impl Fn(&Run) -> f64,
    (candidate, beside): Baseline,
    goal: Goal,
) -> Option<Figure> {
    let ours: Spread = runs.spread(Ours, &value)?;
    let baseline = runs.spread(candidate, &value);
    if baseline.is_none() && matches!(goal, Goal::RatioAtLeast(_) | Goal::RatioAtMost(_)) {
        return None;
    }
    Some(Figure { name: name.into(), unit, ours, baseline, beside: baseline.and(beside), goal })
}
