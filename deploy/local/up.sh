#!/usr/bin/env bash
# Starts a local Kafka and ClickHouse, unless they run already or KAFKA_BROKERS / CLICKHOUSE_URL name others.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A start that fails half-way leaves nothing behind.
undo() {
  local status=$?
  if ((status != 0)); then stop_started; fi
  exit "$status"
}
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

start_services
