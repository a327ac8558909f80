//! `aftersend migrate`

use aftersend_pipeline::config::Config;
use aftersend_pipeline::kafka::{check_topics, create_topics};
use aftersend_schemas::topics::Topics;
use aftersend_sinks::clickhouse;

/// Creates what is missing, checks what is there, and prints what was done.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let created = migrate(config).await?;
    say(format_args!("kafka: every topic with prefix {} is there, {created} of them new", config.kafka.topic_prefix));
    say(format_args!("clickhouse: database {} is up to date", config.clickhouse.database));
    Ok(())
}

/// As [`run`], silently. Returns the number of topics that were created.
pub async fn migrate(config: &Config) -> anyhow::Result<usize> {
    let specs = Topics::new(&config.kafka.topic_prefix).specs(config.max_record_bytes());
    let created = create_topics(config, &specs).await?;
    let names: Vec<String> = specs.into_iter().map(|spec| spec.name).collect();
    check_until_known(config, &names).await?;
    clickhouse::migrate(&config.clickhouse).await?;
    Ok(created.len())
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
