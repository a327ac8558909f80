//! `aftersend migrate`

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{check_topics, create_topics};
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse;

/// Creates what is missing, checks what is there, and prints what was done.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let Done { topics, migrations } = migrate(config).await?;
    say(format_args!("kafka: every topic with prefix {} is there, {topics} of them new", config.kafka.topic_prefix));
    let applied = if migrations.is_empty() { "nothing to apply".to_owned() } else { format!("applied {}", migrations.join(", ")) };
    say(format_args!("clickhouse: database {} is up to date, {applied}", config.clickhouse.database));
    Ok(())
}

/// What was missing.
pub struct Done {
    /// Topics that were created.
    pub topics: usize,
    /// Files that were applied to ClickHouse.
    pub migrations: Vec<&'static str>,
}

/// As [`run`], silently.
pub async fn migrate(config: &Config) -> anyhow::Result<Done> {
    let specs = Topics::new(&config.kafka.topic_prefix).specs(config.max_record_bytes());
    let created = create_topics(config, &specs).await?;
    let names: Vec<String> = specs.into_iter().map(|spec| spec.name).collect();
    check_until_known(config, &names).await?;
    let migrations = clickhouse::migrate(&config.clickhouse).await?;
    Ok(Done { topics: created.len(), migrations })
}

/// A new topic is known to every broker only a moment after it was created.
async fn check_until_known(config: &Config, names: &[String]) -> anyhow::Result<()> {
    for _ in 0..50 {
        match check_topics(config, names).await {
            Err(aftersend_pipeline::kafka::TopicError::Missing(_)) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            result => return Ok(result?),
        }
    }
    Ok(check_topics(config, names).await?)
}

#[expect(clippy::print_stdout, reason = "the command's result")]
fn say(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}
