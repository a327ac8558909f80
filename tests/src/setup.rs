use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aftersend::demo::track_api::{API_KEY, SITE_ID, TrackApi};
use aftersend::traffic::Sender;
use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::producer_config;
use aftersend_pipeline::unix_millis;
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse::client;
use anyhow::{Context as _, bail};
use clickhouse::Client;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;

use crate::ports::free_address;
use crate::process::{Process, binary};
use crate::{eventually, process};

/// The key of the source `default`.
pub const SIGNING_KEY: &str = "test signing key";

/// A subcommand that runs until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// `aftersend ingest`
    Ingest,
    /// `aftersend processor`
    Processor,
    /// `aftersend sink clickhouse`
    ClickHouse,
    /// `aftersend sink track`
    Track,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Processor, Self::ClickHouse, Self::Track];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Ingest => &["ingest"],
            Self::Processor => &["processor"],
            Self::ClickHouse => &["sink", "clickhouse"],
            Self::Track => &["sink", "track"],
        }
    }
}

/// A configuration of a test's own: topics, database, ports, a stand-in for the Track API, and the processes that were started.
pub struct Setup {
    /// As the processes read it.
    pub config: Config,
    /// What the Track sink talks to.
    pub track_api: TrackApi,
    file: PathBuf,
    running: BTreeMap<Service, Process>,
    /// Last, so that a process that goes with its test can still show its log.
    directory: tempfile::TempDir,
}

/// Where the local or given Kafka is.
pub fn kafka_brokers() -> anyhow::Result<String> {
    std::env::var("KAFKA_BROKERS").context("KAFKA_BROKERS is not set: run `make test`, which starts Kafka and ClickHouse")
}

impl Setup {
    /// Writes the configuration and runs `aftersend migrate`. `more` is TOML for the end of the file.
    pub async fn new(more: &str) -> anyhow::Result<Self> {
        let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
        Self::with(&kafka_brokers()?, &clickhouse, more).await
    }

    /// As [`Setup::new`], with more lines for the section `[ingest]`.
    pub async fn configured(ingest: &str, more: &str) -> anyhow::Result<Self> {
        let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
        let setup = Self::written(&kafka_brokers()?, &clickhouse, ingest, "", more)?;
        setup.migrate()?;
        Ok(setup)
    }

    /// As [`Setup::new`], with more lines for the section `[track]`.
    pub async fn tracking(track: &str, more: &str) -> anyhow::Result<Self> {
        let clickhouse = std::env::var("CLICKHOUSE_URL").context("CLICKHOUSE_URL is not set: run `make test`")?;
        let setup = Self::written(&kafka_brokers()?, &clickhouse, "", track, more)?;
        setup.migrate()?;
        Ok(setup)
    }

    /// As [`Setup::new`], against given services.
    pub async fn with(brokers: &str, clickhouse: &str, more: &str) -> anyhow::Result<Self> {
        let setup = Self::unmigrated(brokers, clickhouse, more)?;
        setup.migrate()?;
        Ok(setup)
    }

    /// Writes the configuration only.
    pub fn unmigrated(brokers: &str, clickhouse: &str, more: &str) -> anyhow::Result<Self> {
        Self::written(brokers, clickhouse, "", "", more)
    }

    fn written(brokers: &str, clickhouse: &str, ingest_lines: &str, track_lines: &str, more: &str) -> anyhow::Result<Self> {
        // A test that is about draining says so.
        let track_lines =
            if track_lines.contains("coalesce") { track_lines.to_owned() } else { format!("coalesce = \"0s\"\n{track_lines}") };
        let drain = if ingest_lines.contains("drain") { "" } else { "drain = \"0s\"" };
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}_{}_{}", unix_millis(), std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let track_api = TrackApi::start()?;
        let [listen, ingest, processor, sink, track] =
            [free_address()?, free_address()?, free_address()?, free_address()?, free_address()?];
        let toml = format!(
            r#"
instance = "test"
[kafka]
brokers = "{brokers}"
topic_prefix = "aftersend-test-{unique}"
allow_single_replica = true
[ingest]
listen = "{listen}"
admin = "{ingest}"
{drain}
{ingest_lines}
[processor]
admin = "{processor}"
[clickhouse]
url = "{clickhouse}"
database = "aftersend_test_{unique}"
admin = "{sink}"
[track]
mode = "live"
url = "{track_url}"
site_id = "{SITE_ID}"
api_key = "{API_KEY}"
max_requests_per_second = 1000
{track_lines}
admin = "{track}"
[privacy]
hash_keys = [{{ key = "test hash key" }}]
[[source]]
name = "default"
signing_keys = "{SIGNING_KEY}"
{more}
"#,
            track_url = track_api.url(),
        );
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("aftersend.toml");
        std::fs::write(&file, &toml)?;
        let config = Config::parse(&toml, [])?;
        Ok(Self { config, track_api, file, directory, running: BTreeMap::new() })
    }

    /// `aftersend migrate`
    pub fn migrate(&self) -> anyhow::Result<()> {
        let output = Command::new(binary()?).arg("migrate").arg("--config").arg(&self.file).output()?;
        if !output.status.success() {
            bail!("migrate: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The configuration file.
    pub fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// Starts a service and waits until it is ready.
    pub async fn start(&mut self, service: Service) -> anyhow::Result<()> {
        self.launch(service)?;
        self.ready(service).await
    }

    /// Starts a service.
    pub fn launch(&mut self, service: Service) -> anyhow::Result<()> {
        self.launch_with(service, &[])
    }

    /// Starts a service with more variables in its environment.
    pub fn launch_with(&mut self, service: Service, variables: &[(&str, &str)]) -> anyhow::Result<()> {
        let mut command = Command::new(binary()?);
        command.args(service.arguments()).arg("--config").arg(&self.file).envs(variables.iter().copied());
        let log = self.directory.path().join(format!("{service:?}.log"));
        let process = Process::spawn(service.arguments().join(" "), &mut command, log)?;
        self.running.insert(service, process);
        Ok(())
    }

    /// Puts another process in the place of a running one; that one.
    pub fn replace(&mut self, service: Service, process: Process) -> anyhow::Result<Process> {
        self.running.insert(service, process).context("the service was not started")
    }

    /// Waits until a service has ended by itself.
    pub async fn ended(&mut self, service: Service) -> anyhow::Result<ExitStatus> {
        self.running.remove(&service).context("the service was not started")?.ended().await
    }

    /// Waits until a service has failed; what it logged.
    pub async fn failed(&mut self, service: Service) -> anyhow::Result<String> {
        let log = self.directory.path().join(format!("{service:?}.log"));
        if self.ended(service).await?.success() {
            bail!("{service:?} ended without an error");
        }
        Ok(std::fs::read_to_string(log)?)
    }

    /// Starts all four.
    pub async fn start_all(&mut self) -> anyhow::Result<()> {
        for service in Service::ALL {
            self.launch(service)?;
        }
        for service in Service::ALL {
            self.ready(service).await?;
        }
        Ok(())
    }

    /// Waits for `/readyz`.
    pub async fn ready(&mut self, service: Service) -> anyhow::Result<()> {
        let url = format!("http://{}/readyz", self.admin(service));
        eventually(Duration::from_secs(30), async || {
            self.process(service)?.check()?;
            if !reqwest::get(&url).await?.status().is_success() {
                bail!("{service:?} is not ready:\n{}", self.process(service)?.log());
            }
            Ok(())
        })
        .await
    }

    /// A running service.
    pub fn process(&mut self, service: Service) -> anyhow::Result<&mut process::Process> {
        self.running.get_mut(&service).context("the service was not started")
    }

    /// SIGTERM; the exit status.
    pub async fn stop(&mut self, service: Service) -> anyhow::Result<ExitStatus> {
        self.running.remove(&service).context("the service was not started")?.terminate().await
    }

    /// SIGKILL.
    pub fn kill(&mut self, service: Service) -> anyhow::Result<()> {
        self.running.remove(&service).context("the service was not started")?.kill()
    }

    /// SIGTERM to all; every exit must be clean.
    pub async fn stop_all(&mut self) -> anyhow::Result<()> {
        for service in self.running.keys().copied().collect::<Vec<_>>() {
            let log = self.process(service)?.log();
            let status = self.stop(service).await?;
            if !status.success() {
                bail!("{service:?} ended with {status}:\n{log}");
            }
        }
        Ok(())
    }

    /// One value of `/metrics`: the sum over every series whose line begins with `series`.
    pub async fn metric(&self, service: Service, series: &str) -> anyhow::Result<f64> {
        let text = reqwest::get(format!("http://{}/metrics", self.admin(service))).await?.text().await?;
        let values = text.lines().filter(|line| line.starts_with(series)).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Waits up to 5 s until the sum of such series is so: gauges are set now and then.
    pub async fn settles(&self, service: Service, series: &str, value: f64) -> anyhow::Result<()> {
        eventually(Duration::from_secs(5), async || {
            let now = self.metric(service, series).await?;
            if now != value {
                bail!("{series} is {now}, not {value}");
            }
            Ok(())
        })
        .await
    }

    fn admin(&self, service: Service) -> &str {
        match service {
            Service::Ingest => &self.config.ingest.admin,
            Service::Processor => &self.config.processor.admin,
            Service::ClickHouse => &self.config.clickhouse.admin,
            Service::Track => &self.config.track.admin,
        }
    }

    /// The endpoint of a source.
    pub fn webhook_url(&self, source: &str) -> String {
        format!("http://{}/v1/webhooks/customerio/reporting/{source}", self.config.ingest.listen)
    }

    /// A sender for the source `default`.
    pub fn sender(&self) -> anyhow::Result<Sender> {
        Ok(Sender::new(&self.webhook_url("default"), SIGNING_KEY)?)
    }

    /// Where configuration and logs are, until the end.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A client in the test's database.
    pub fn database(&self) -> Client {
        client(&self.config.clickhouse)
    }

    /// One number from the test's database.
    pub async fn count(&self, query: &str) -> anyhow::Result<u64> {
        Ok(self.database().query(query).fetch_one::<u64>().await?)
    }

    /// Names of topics and groups.
    pub fn topics(&self) -> Topics {
        Topics::new(&self.config.kafka.topic_prefix)
    }

    /// Stops what runs, and drops the topics and the database: hundreds of topics more make a small broker slow.
    pub async fn finish(mut self) -> anyhow::Result<()> {
        self.stop_all().await?;
        let topics: Vec<String> = self.topics().specs(1).into_iter().map(|spec| spec.name).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let admin: AdminClient<DefaultClientContext> = producer_config(&self.config, "test", 10_000).create()?;
        for deleted in admin.delete_topics(&topics, &AdminOptions::new()).await? {
            match deleted {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((topic, code)) => bail!("cannot delete {topic}: {code}"),
            }
        }
        let drop = format!("DROP DATABASE IF EXISTS {} SYNC", self.config.clickhouse.database);
        self.database().with_database("default").query_raw(&drop).execute().await?;
        self.track_api.stop().await;
        Ok(())
    }
}
