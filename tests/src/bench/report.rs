//! Figures beside their goals, and the lines of `target/bench`.

use std::borrow::Cow;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::profile_directory;

/// Of at least one run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// In the middle.
    pub median: f64,
    /// Largest.
    pub max: f64,
    runs: usize,
}

/// What should come out.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// Of ours to the baseline.
    RatioAtLeast(f64),
    /// Of ours to the baseline.
    RatioAtMost(f64),
    /// Of ours.
    AtLeast(f64),
    /// Of ours.
    AtMost(f64),
    /// Good to know.
    None,
}

/// One thing that was measured.
#[derive(Debug, Clone)]
pub struct Figure {
    /// As the documentation calls it.
    pub name: Cow<'static, str>,
    /// Of all its values but the ratio.
    pub unit: &'static str,
    /// What was measured of us.
    pub ours: Spread,
    /// The same of the one beside us.
    pub baseline: Option<Spread>,
    /// Who that is.
    pub beside: Option<String>,
    /// What should come out.
    pub goal: Goal,
}

impl Spread {
    /// Nothing of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
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

    /// The goal in words, and whether it is met.
    fn verdict(&self) -> (String, &'static str) {
        let (words, is_met) = match self.goal {
            Goal::RatioAtLeast(least) => (format!("ratio >= {least}"), self.ratio().is_some_and(|ratio| ratio >= least)),
            Goal::RatioAtMost(most) => (format!("ratio <= {most}"), self.ratio().is_some_and(|ratio| ratio <= most)),
            Goal::AtLeast(least) => (format!("ours >= {least}"), self.ours.median >= least),
            Goal::AtMost(most) => (format!("ours <= {most}"), self.ours.median <= most),
            Goal::None => return (String::new(), ""),
        };
        (words, if is_met { "met" } else { "missed" })
    }

    fn line(&self, part: &str) -> Value {
        let of = |spread: Option<Spread>, part: fn(Spread) -> f64| spread.map(|spread| rounded(part(spread)));
        let (ours, baseline) = (Some(self.ours), self.baseline);
        json!({
            "part": part,
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
pub fn print(figures: &[Figure]) {
    let width = figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or_default();
    eprintln!("\n{:<width$} {:>10} {:>10} {:>8}  {:<10} {:<14}", "", "ours", "baseline", "ratio", "unit", "goal");
    for figure in figures {
        let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| rounded(value).to_string());
        let (goal, verdict) = figure.verdict();
        let (ours, baseline) = (text(Some(figure.ours.median)), text(figure.baseline.map(|spread| spread.median)));
        let ratio = text(figure.ratio());
        eprintln!("{:<width$} {ours:>10} {baseline:>10} {ratio:>8}  {:<10} {goal:<14} {verdict}", figure.name, figure.unit);
    }
}

/// One JSON line a figure, in `target/bench`. Lines of other parts stay; those of this one are replaced.
pub fn write(file: &str, part: &str, figures: &[Figure]) -> anyhow::Result<PathBuf> {
    let directory = profile_directory()?.join("../bench");
    std::fs::create_dir_all(&directory)?;
    let path = directory.canonicalize()?.join(file);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let others = before.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|line| line["part"] != part);
    let text: String = others.chain(figures.iter().map(|figure| figure.line(part))).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, text)?;
    Ok(path)
}
