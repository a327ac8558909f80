//! From runs to figures.

use aftersend_tests::bench::{Figure, Goal, Spread};

use crate::outcomes::Size;

/// Slowest panel, milliseconds.
const GOAL: Goal = Goal::AtMost(200.0);

pub(crate) struct Panel {
    pub(crate) title: String,
    /// Milliseconds.
    pub(crate) runs: Vec<f64>,
    /// One run with nothing counted.
    pub(crate) uncounted: Option<f64>,
}

impl Panel {
    fn figure(&self) -> Option<Figure> {
        let baseline = self.uncounted.and_then(|ms| Spread::of(vec![ms]));
        Some(Figure {
            name: format!("panel_query_ms: {}", self.title).into(),
            unit: "ms",
            ours: Spread::of(self.runs.clone())?,
            baseline,
            beside: baseline.map(|_| "nothing counted before".to_owned()),
            goal: GOAL,
        })
    }
}

/// Every panel, the slowest of them, and what a row takes.
pub(crate) fn figures(panels: &[Panel], size: &Size) -> Vec<Figure> {
    let mut figures: Vec<Figure> = panels.iter().filter_map(Panel::figure).collect();
    let slowest = figures.iter().max_by(|a, b| a.ours.median.total_cmp(&b.ours.median)).cloned();
    figures.extend(slowest.map(|slowest| Figure { name: "panel_query_max_ms".into(), ..slowest }));
    let per_row = |bytes: u64| Spread::of(vec![bytes as f64 / size.rows.max(1) as f64]);
    let bytes = |name: &'static str, ours: Option<Spread>, baseline: Option<Spread>| {
        let beside = baseline.map(|_| "not compressed".to_owned());
        ours.map(|ours| Figure { name: name.into(), unit: "bytes", ours, baseline, beside, goal: Goal::None })
    };
    figures.extend(bytes("bytes_per_row", per_row(size.bytes), per_row(size.uncompressed)));
    figures.extend(bytes("count_bytes_per_row", per_row(size.count_bytes), None));
    figures
}
