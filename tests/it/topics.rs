//! Topics as somebody else has left them.

use std::time::Duration;

use aftersend_pipeline::kafka::{producer_config, topic_setting};
use aftersend_tests::{Service, Setup, eventually};
use anyhow::ensure;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

#[tokio::test]
async fn a_topic_that_would_lose_records_that_count_is_refused_with_the_command_that_mends_it() -> anyhow::Result<()> {
    let mut setup = Setup::new("").await?;
    let admin: AdminClient<DefaultClientContext> = producer_config(&setup.config, "test", 10_000).create()?;
    let kafka = setup.config.clone();
    let bytes = setup.config.max_record_bytes().to_string();
    let alter = async |topic: &str, policy: &str| -> anyhow::Result<()> {
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes).set("cleanup.policy", policy);
        for altered in admin.alter_configs(&[config], &AdminOptions::new()).await? {
            altered.map_err(|(_, code)| anyhow::anyhow!("not altered: {code}"))?;
        }
        // The broker itself takes a moment to see it.
        eventually(Duration::from_secs(10), async || {
            let found = topic_setting(&kafka, topic, "cleanup.policy").await?;
            ensure!(found.as_deref() == Some(policy), "{topic} has {found:?}");
            Ok(())
        })
        .await
    };
    let topics = setup.topics();
    for (topic, wrong, needed) in [
        (topics.profiles(), "delete", "compact"),
        (topics.profiles(), "compact,delete", "compact"),
        (topics.raw(), "compact", "delete"),
        (topics.providers(), "delete", "compact,delete"),
    ] {
        alter(&topic, wrong).await?;
        setup.launch(Service::Processor)?;
        let log = setup.failed(Service::Processor).await?;
        let command = format!("--entity-name {topic} --add-config 'cleanup.policy=[{needed}]'");
        assert!(log.contains(&format!("topic {topic} has cleanup.policy = ")) && log.contains(&command), "{log}");
        let error = setup.migrate().unwrap_err().to_string();
        assert!(error.contains(&command), "{error}");
        alter(&topic, needed).await?;
    }
    alter(&topics.providers(), "delete,compact").await?;
    setup.start(Service::Processor).await?;
    setup.finish().await
}
