#!/usr/bin/env bash
# kafka-tool.sh NAME ARGS...: Kafka's own command line tools, from the jars. The broker's address is added if not given.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tools=org.apache.kafka.tools
name=${1:-}
bootstrap=1
case $name in
kafka-topics) class=$tools.TopicCommand ;;
kafka-configs) class=kafka.admin.ConfigCommand ;;
kafka-groups) class=$tools.GroupsCommand ;;
kafka-consumer-groups) class=$tools.consumer.group.ConsumerGroupCommand ;;
kafka-console-consumer) class=$tools.consumer.ConsoleConsumer ;;
kafka-console-producer) class=$tools.ConsoleProducer ;;
kafka-get-offsets) class=$tools.GetOffsetShell ;;
kafka-delete-records) class=$tools.DeleteRecordsCommand ;;
kafka-transactions) class=$tools.TransactionsCommand ;;
kafka-log-dirs) class=$tools.LogDirsCommand ;;
kafka-broker-api-versions) class=$tools.BrokerApiVersionsCommand ;;
kafka-metadata-quorum) class=$tools.MetadataQuorumCommand ;;
kafka-features) class=$tools.FeatureCommand ;;
kafka-reassign-partitions) class=$tools.reassign.ReassignPartitionsCommand ;;
kafka-producer-perf-test) class=$tools.ProducerPerformance ;;
kafka-consumer-perf-test) class=$tools.ConsumerPerformance ;;
kafka-dump-log) class=$tools.DumpLogSegments bootstrap= ;;
kafka-storage) class=kafka.tools.StorageTool bootstrap= ;;
*) die "usage: kafka-tool.sh NAME ARGS...
NAME: $(sed -n 's/^\(kafka-[a-z-]*\)) class=.*/\1/p' "${BASH_SOURCE[0]}" | tr '\n' ' ')" ;;
esac
shift
[[ -d $KAFKA_LIBS ]] || die "Kafka's jars are missing: run deploy/local/setup.sh services"

arguments=("$@")
if [[ -n $bootstrap && " $* " != *" --bootstrap-server"[\ =]* ]]; then
  brokers=${KAFKA_BROKERS:-$(sed -n 's/^KAFKA_BROKERS=//p' "$LOCAL/env" 2>/dev/null || true)}
  arguments=(--bootstrap-server "${brokers:-127.0.0.1:$KAFKA_PORT}" "$@")
fi

kafka_java log4j2-tools.properties -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m "$class"
exec "${KAFKA_COMMAND[@]}" "${arguments[@]+"${arguments[@]}"}"
