//! Figures beside their goals, and the lines of `target/bench/ingest.json`.

use std::path::PathBuf;

use aftersend_tests::profile_directory;
use serde_json::json;

/// Of at least one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    runs: usize,
}

/// What should come out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    RatioAtLeast(f64),
    RatioAtMost(f64),
    AtMost(f64),
}

pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ours: Spread,
    pub(crate) baseline: Option<Spread>,
    /// Who that is.
    pub(crate) beside: Option<String>,
    pub(crate) goal: Goal,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { min, median, max, runs: values.len() })
    }
}

impl Figure {
    /// Ours to the baseline, by the medians.
    fn ratio(&self) -> Option<f64> {
        Some(self.ours.median / self.baseline?.median)
    }

    fn is_met(&self) -> bool {
        match self.goal {
            Goal::RatioAtLeast(least) => self.ratio().is_some_and(|ratio| ratio >= least),
            Goal::RatioAtMost(most) => self.ratio().is_some_and(|ratio| ratio <= most),
            Goal::AtMost(most) => self.ours.median <= most,
        }
    }

    fn line(&self) -> serde_json::Value {
        let of = |spread: Option<Spread>, part: fn(Spread) -> f64| spread.map(|spread| rounded(part(spread)));
        let (ours, baseline) = (Some(self.ours), self.baseline);
        json!({
            "name": self.name,
            "ours": of(ours, |spread| spread.median),
            "baseline": of(baseline, |spread| spread.median),
            "ratio": self.ratio().map(rounded),
            "unit": self.unit,
            "ours_min": of(ours, |spread| spread.min),
            "ours_max": of(ours, |spread| spread.max),
            "baseline_min": of(baseline, |spread| spread.min),
            "baseline_max": of(baseline, |spread| spread.max),
            "runs": self.ours.runs,
            "beside": self.beside,
        })
    }
}

/// Four digits say all that such a measurement knows.
fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let factor = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * factor).round() / factor
}

/// For people.
pub(crate) fn print(figures: &[Figure]) {
    eprintln!("\n{:<26} {:>10} {:>10} {:>8}  {:<10} {:<14}", "", "ours", "baseline", "ratio", "unit", "goal");
    for figure in figures {
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| rounded(value).to_string());
        let goal = match figure.goal {
            Goal::RatioAtLeast(least) => format!("ratio >= {least}"),
            Goal::RatioAtMost(most) => format!("ratio <= {most}"),
            Goal::AtMost(most) => format!("ours <= {most}"),
        };
        let (ours, baseline) = (text(Some(figure.ours.median)), text(figure.baseline.map(|spread| spread.median)));
        let ratio = text(figure.ratio());
        let verdict = if figure.is_met() { "met" } else { "missed" };
        eprintln!("{:<26} {ours:>10} {baseline:>10} {ratio:>8}  {:<10} {goal:<14} {verdict}", figure.name, figure.unit);
    }
}

/// One JSON line a figure, in `target/bench`.
pub(crate) fn write(file: &str, figures: &[Figure]) -> anyhow::Result<PathBuf> {
    let directory = profile_directory()?.join("../bench");
    std::fs::create_dir_all(&directory)?;
    let path = directory.canonicalize()?.join(file);
    let text: String = figures.iter().map(|figure| format!("{}\n", figure.line())).collect();
    std::fs::write(&path, text)?;
    Ok(path)
}
