#!/usr/bin/env bash
# Stops what up.sh has started. The data stays, unless --wipe is given.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

wipe=
case ${1:-} in
'') ;;
--wipe) wipe=1 ;;
*) die "usage: down.sh [--wipe]" ;;
esac

for name in clickhouse kafka; do
  if stop_service "$name"; then say "$name: stopped"; fi
done
rm -f "$LOCAL/env"
if [[ -n $wipe ]]; then
  rm -rf "$KAFKA/data" "$KAFKA/data.version" "$CLICKHOUSE/data" "$CLICKHOUSE/data.version"
  say "data deleted"
fi
