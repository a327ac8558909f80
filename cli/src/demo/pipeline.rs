use std::time::Duration;

use aftersend_ingest::Ingest;
use aftersend_pipeline::config::Config;
use aftersend_pipeline::shutdown::Reloads;
use anyhow::Context as _;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::services;

/// Every service, in this process.
pub(super) struct Pipeline {
    shutdown: CancellationToken,
    services: Mutex<JoinSet<anyhow::Result<()>>>,
}

impl Pipeline {
    /// Starts them and waits until all are ready.
    pub(super) async fn start(config: &Config) -> anyhow::Result<Self> {
        let shutdown = CancellationToken::new();
        let mut services = JoinSet::new();
        let ingest = Ingest::bind(config)?;
        let (config, token) = (config.clone(), shutdown.clone());
        services.spawn(async move { ingest.run(token, Reloads::never()).await.context("ingest") });
        let (shared, token) = (config.clone(), shutdown.clone());
        services.spawn(async move { services::processor(&shared, token).await });
        let (shared, token) = (config.clone(), shutdown.clone());
        services.spawn(async move { services::clickhouse(&shared, token).await });
        let (shared, token) = (config.clone(), shutdown.clone());
        services.spawn(async move { services::track(&shared, token).await });
        let pipeline = Self { shutdown, services: Mutex::new(services) };
        let admins = [&config.ingest.admin, &config.processor.admin, &config.clickhouse.admin, &config.track.admin];
        for admin in admins {
            tokio::select! {
                ready = until_ready(admin) => ready?,
                error = pipeline.failed() => return Err(error),
            }
        }
        Ok(pipeline)
    }

    /// Ends when a service does, which none should.
    pub(super) async fn failed(&self) -> anyhow::Error {
        match self.services.lock().await.join_next().await {
            Some(Ok(Err(error))) => error,
            Some(Err(error)) => anyhow::Error::new(error),
            Some(Ok(Ok(()))) | None => anyhow::anyhow!("a service ended early"),
        }
    }

    /// Drains all of them.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        let mut services = self.services.into_inner();
        while let Some(ended) = services.join_next().await {
            if let Ok(Err(error)) = ended {
                tracing::error!("{error:#}");
            }
        }
    }
}

async fn until_ready(admin: &str) -> anyhow::Result<()> {
    let url = format!("http://{admin}/readyz");
    for _ in 0..300 {
        if let Ok(response) = reqwest::get(&url).await
            && response.status().is_success()
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    anyhow::bail!("{url} did not become ready within 30 s")
}
