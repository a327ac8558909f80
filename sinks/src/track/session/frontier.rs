//! How far things are that something irreversible waits for: where `profiles` end, and whether the processor has judged what had arrived. Questions that
//! block are asked beside the session, one of a kind at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aftersend_pipeline::consumer::Progress;
use aftersend_pipeline::unix_millis;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use rdkafka::error::{KafkaError, KafkaResult};

use super::super::arrivals::{Arrivals, Survey};

/// Until brokers that do not answer are asked again.
const PAUSE: Duration = Duration::from_secs(5);
/// From the commit of an offset to the end of its transaction in every partition.
const SETTLING: Duration = Duration::from_millis(200);

/// Where partitions of `profiles` end.
pub(super) struct Ends {
    /// Before the broker was asked.
    pub(super) asked: Instant,
    pub(super) offsets: Vec<(i32, i64)>,
}

/// Finds out where partitions of `profiles` end.
pub(super) struct Profiles {
    progress: Arc<Progress>,
    asked: FuturesUnordered<BoxFuture<'static, Ends>>,
}

impl Profiles {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress: Arc::new(progress), asked: FuturesUnordered::new() }
    }

    /// What was found out; nothing while nobody asks.
    pub(super) async fn next(&mut self) -> Option<Ends> {
        self.asked.next().await
    }

    /// Asks for these partitions, unless a question is under way.
    pub(super) fn ask(&mut self, partitions: Vec<i32>) {
        if !self.asked.is_empty() || partitions.is_empty() {
            return;
        }
        let (progress, asked) = (self.progress.clone(), Instant::now());
        // One after the other: a partition without a leader keeps only its own people waiting.
        let found = tokio::task::spawn_blocking(move || {
            let (mut offsets, mut failures) = (Vec::new(), Vec::new());
            for partition in partitions {
                match progress.bounds(partition) {
                    Ok((_, end)) => offsets.push((partition, end)),
                    Err(error) => failures.push((partition, error)),
                }
            }
            (offsets, failures)
        });
        self.asked.push(Box::pin(async move {
            let (offsets, failures) = found.await.unwrap_or_default();
            for (partition, error) in failures {
                tracing::warn!(%error, partition, "cannot tell yet whether all profiles have been read: suppresses wait");
            }
            if offsets.is_empty() {
                tokio::time::sleep(PAUSE).await;
            }
            Ends { asked, offsets }
        }));
    }
}

/// Finds out how far the processor is.
pub(super) struct Processor {
    progress: Arc<Progress>,
    pub(super) arrivals: Arrivals,
    asked: FuturesUnordered<BoxFuture<'static, Option<Survey>>>,
}

impl Processor {
    pub(super) fn new(progress: Progress) -> Self {
        Self { progress: Arc::new(progress), arrivals: Arrivals::default(), asked: FuturesUnordered::new() }
    }

    /// What was found out, if anything; nothing while nobody asks.
    pub(super) async fn next(&mut self) -> Option<Option<Survey>> {
        self.asked.next().await
    }

    /// Asks, if somebody waits and no question is under way.
    pub(super) fn ask(&mut self) {
        if !self.asked.is_empty() || self.arrivals.waiting() == 0 {
            return;
        }
        let (progress, questions) = (self.progress.clone(), self.arrivals.questions());
        let asked = tokio::task::spawn_blocking(move || survey(&progress, &questions));
        self.asked.push(Box::pin(async move {
            match asked.await.unwrap_or(Err(KafkaError::Canceled)) {
                Ok(survey) => Some(survey),
                Err(error) => {
                    tracing::warn!(%error, "cannot tell yet how far the processor is: hard bounces wait");
                    tokio::time::sleep(PAUSE).await;
                    None
                }
            }
        }));
    }

    /// Takes what was found out; the partitions of which there is news.
    pub(super) fn learn(&mut self, survey: Option<Survey>) -> Vec<i32> {
        let Some(survey) = survey else { return Vec::new() };
        let news = self.arrivals.learn(&survey);
        for partition in self.arrivals.late(unix_millis()) {
            tracing::warn!(
                partition,
                "the processor is more than a minute behind: suppresses for hard bounces wait until it has read what had arrived"
            );
        }
        news
    }
}

/// Asks Kafka how far these partitions are: those without a mark, and those with one. Blocks.
fn survey(progress: &Progress, (unmarked, marked): &(Vec<i32>, Vec<i32>)) -> KafkaResult<Survey> {
    let at = unix_millis();
    let bounds = unmarked.iter().map(|partition| Ok((*partition, progress.bounds(*partition)?))).collect::<KafkaResult<_>>()?;
    let committed = progress.committed(unmarked.iter().chain(marked).copied())?;
    std::thread::sleep(SETTLING);
    Ok(Survey { at, bounds, committed })
}
