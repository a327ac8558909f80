#!/usr/bin/env bash
# with-services.sh COMMAND ARGS...: runs COMMAND with Kafka and ClickHouse up, and afterwards stops those of the two
# that it had to start. Exits with COMMAND's status.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
(($# > 0)) || die "usage: with-services.sh COMMAND ARGS..."

child=
finish() {
  local status=$?
  trap '' INT TERM HUP # the cleaning up has to end
  trap - EXIT
  if ((status != 0 && status < 128)); then tell_troubles >&2; fi
  stop_started
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

start_services >&2

# A terminal sends Ctrl-C to the whole process group, COMMAND included; a second one from here could be taken for
# impatience. Without a terminal in front the signal was meant for this process, and COMMAND has to be told.
in_foreground() {
  local stat
  stat=$(cat "/proc/$$/stat" 2>/dev/null) || return 1
  read -ra stat <<<"${stat##*) }"
  [[ ${stat[2]} == "${stat[5]}" ]]
}
trap 'in_foreground || kill -INT "$child" 2>/dev/null || true' INT
trap 'kill -TERM "$child" 2>/dev/null || true' TERM
trap 'kill -HUP "$child" 2>/dev/null || true' HUP

# In the background, since bash runs no trap while it waits for a foreground command; hence the restored signals and
# the explicit standard input.
(
  trap - INT QUIT TERM HUP EXIT
  exec "$@"
) <&0 &
child=$!

status=0
wait "$child" || status=$?
while kill -0 "$child" 2>/dev/null; do # a trap ended the wait, not the child
  status=0
  wait "$child" || status=$?
done
exit "$status"
