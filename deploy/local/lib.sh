# shellcheck shell=bash
# Shared by the scripts next to it: where things are, and how the two services are started, asked and stopped.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$HERE/../.." && pwd)
LOCAL=${AFTERSEND_LOCAL:-$ROOT/.local} # data, logs and process ids
KAFKA=$LOCAL/kafka
KAFKA_LIBS=$ROOT/.local/kafka/libs # shared by every data directory
CLICKHOUSE=$LOCAL/clickhouse
CLICKHOUSE_VENV=$ROOT/.local/clickhouse/venv # shared too

KAFKA_PORT=${KAFKA_PORT:-9092}
KAFKA_CONTROLLER_PORT=${KAFKA_CONTROLLER_PORT:-9093}
CLICKHOUSE_PORT=${CLICKHOUSE_PORT:-8123}

STARTED=() # services this very process has started

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

kafka_is_ours() { [[ -z ${KAFKA_BROKERS:-} ]]; }
clickhouse_is_ours() { [[ -z ${CLICKHOUSE_URL:-} ]]; }

# --- programs -------------------------------------------------------------------------------------------------------

# The first Java of version 17 or newer, not necessarily the one on PATH.
find_java() {
  local java version
  for java in "${JAVA_HOME:-/nonexistent}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    [[ -x $java ]] || continue
    version=$("$java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
    if ((${version:-0} >= 17)); then
      printf '%s\n' "$java"
      return 0
    fi
  done
  return 1
}

find_python() {
  local python
  for python in python3 python3.13 python3.12 python3.11 python3.10 python3.9; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1; then
      command -v "$python"
      return 0
    fi
  done
  return 1
}

# --- processes ------------------------------------------------------------------------------------------------------

# State and start time: a pid together with its start time cannot be mistaken for a later process of the same number.
start_time() {
  local stat
  if [[ -d /proc/self ]]; then
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != Z ]] || return 1
    printf '%s\n' "${stat[19]}"
  else
    ps -o lstart= -p "$1" 2>/dev/null
  fi
}

remember() { printf '%s %s\n' "$2" "$(start_time "$2")" >"$LOCAL/$1/pid"; }

# Prints the pid of a service that up.sh has started and that is still there.
running_pid() {
  local pid started
  read -r pid started 2>/dev/null <"$LOCAL/$1/pid" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]] || return 1
  printf '%s\n' "$pid"
}

# In a session of its own: Ctrl-C in the terminal must not reach it. The lock on descriptor 9 must not go along.
detached() {
  local output=$1
  shift
  if command -v setsid >/dev/null; then
    setsid "$@" </dev/null >"$output" 2>&1 9>&- &
  else
    set -m
    nohup "$@" </dev/null >"$output" 2>&1 9>&- &
    set +m
  fi
}

stop_service() {
  local name=$1 pid i
  if ! pid=$(running_pid "$name"); then
    rm -f "$LOCAL/$name/pid"
    return 1
  fi
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < 200; i++)); do
    running_pid "$name" >/dev/null || break
    sleep 0.1
  done
  if running_pid "$name" >/dev/null; then
    say "$name did not stop within 20 s, killing it"
    kill -KILL "$pid" 2>/dev/null || true
    while running_pid "$name" >/dev/null; do sleep 0.1; done
  fi
  rm -f "$LOCAL/$name/pid"
}

# --- ports ----------------------------------------------------------------------------------------------------------

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# "pid 123 (command line)" of whoever listens on a port, as far as it can be seen.
port_owner() {
  local inode link pid
  if [[ -r /proc/net/tcp ]]; then
    inode=$(awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && $2 ~ port "$" { print $10; exit }' \
      /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)
    if [[ -n $inode ]]; then
      link=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" -print -quit 2>/dev/null || true)
      if [[ -n $link ]]; then
        pid=${link#/proc/}
        pid=${pid%%/*}
        printf 'process %s (%s)\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" | cut -c 1-100)"
        return
      fi
    fi
  elif command -v lsof >/dev/null; then
    lsof -nP -iTCP:"$1" -sTCP:LISTEN 2>/dev/null | awk 'NR == 2 { print "process " $2 " (" $1 ")" }'
    return
  fi
  say "another process (not visible to this user)"
}

require_free_port() {
  local port=$1 what=$2 instead=$3
  if port_open "$port"; then
    die "Port $port, wanted for $what, is taken by $(port_owner "$port").
Stop that, or choose $instead."
  fi
}

# --- data directories -----------------------------------------------------------------------------------------------

# Older data is upgraded by the newer program; the other way round it may not even be readable.
check_data_version() {
  local name=$1 now=$2 before
  before=$(cat "$LOCAL/$name/data.version" 2>/dev/null || true)
  if [[ -d $LOCAL/$name/data && -n $before && $before != "$now" ]]; then
    if [[ $(printf '%s\n' "$before" "$now" | sort -V | head -n 1) == "$now" ]]; then
      die "The data in .local/$name/data is of version $before, newer than $now.
Delete it with 'deploy/local/down.sh --wipe', or use the newer version."
    fi
    say "$name: data of version $before is taken over by $now"
  fi
  printf '%s\n' "$now" >"$LOCAL/$name/data.version"
}

# --- Kafka ----------------------------------------------------------------------------------------------------------

kafka_java() { # LOG4J-CONFIGURATION JVM-OPTIONS-AND-CLASS...
  local configuration=$1 java
  shift
  java=$(find_java) || die "Java 17 or newer is missing: run deploy/local/setup.sh"
  KAFKA_COMMAND=("$java" "-Dlog4j2.configurationFile=$HERE/kafka/$configuration" "-Dkafka.log.dir=$KAFKA/log"
    -cp "$KAFKA_LIBS/*" "$@")
}

kafka_version() {
  local jar
  jar=$(find "$KAFKA_LIBS" -name 'kafka_2.*.jar' -print -quit)
  jar=${jar##*-}
  printf '%s\n' "${jar%.jar}"
}

format_kafka() {
  local id
  [[ -f $KAFKA/data/meta.properties ]] && return
  if [[ -n $(find "$KAFKA/data" -mindepth 1 -maxdepth 1 -type d 2>/dev/null) ]]; then
    die "There are topics in .local/kafka/data but no meta.properties: this is not a usable Kafka directory.
Delete it with 'deploy/local/down.sh --wipe'."
  fi
  rm -rf "$KAFKA/data" # at most the beginnings of an earlier format
  id=A$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22) # 16 bytes, and never a leading dash
  kafka_java log4j2.properties -XX:TieredStopAtLevel=1 kafka.tools.StorageTool format -t "$id" \
    -c "$KAFKA/server.properties"
  "${KAFKA_COMMAND[@]}" >"$KAFKA/log/format.out" 2>&1 || {
    tail -n 20 "$KAFKA/log/format.out" >&2
    rm -rf "$KAFKA/data"
    die "Formatting .local/kafka/data failed."
  }
}

start_kafka() {
  mkdir -p "$KAFKA/log"
  {
    cat "$HERE/kafka/server.properties"
    printf '%s\n' "listeners=PLAINTEXT://127.0.0.1:$KAFKA_PORT,CONTROLLER://127.0.0.1:$KAFKA_CONTROLLER_PORT" \
      "controller.quorum.voters=1@127.0.0.1:$KAFKA_CONTROLLER_PORT" "log.dirs=$KAFKA/data"
  } >"$KAFKA/server.properties"
  check_data_version kafka "$(kafka_version)"
  format_kafka
  kafka_java log4j2.properties -Xms128m -Xmx512m -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true kafka.Kafka "$KAFKA/server.properties"
  detached "$KAFKA/log/server.out" "${KAFKA_COMMAND[@]}"
  remember kafka $!
  STARTED+=(kafka)
  printf '127.0.0.1:%s\n' "$KAFKA_PORT" >"$KAFKA/address"
}

# A metadata request by hand (a Java tool would take two seconds): it has to name at least one live broker.
kafka_answers() {
  local answer
  answer=$(
    exec 2>/dev/null 3<>"/dev/tcp/${1%:*}/${1##*:}" || exit 1
    printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' >&3
    timeout 5 head -c 12 <&3 | od -An -v -tu1 | tr -s ' \n' ' '
  ) || return 1
  read -ra answer <<<"$answer"
  ((${#answer[@]} == 12 && answer[11] > 0))
}

# --- ClickHouse -----------------------------------------------------------------------------------------------------

start_clickhouse() {
  mkdir -p "$CLICKHOUSE/log"
  check_data_version clickhouse "$(sed -n 's/^chdb-core==//p' "$HERE/clickhouse/requirements.txt")"
  detached "$CLICKHOUSE/log/server.out" "$CLICKHOUSE_VENV/bin/python" -B "$HERE/clickhouse/server.py" \
    --data "$CLICKHOUSE/data" --log "$CLICKHOUSE/log/server.log" --port "$CLICKHOUSE_PORT"
  remember clickhouse $!
  STARTED+=(clickhouse)
  printf 'http://127.0.0.1:%s\n' "$CLICKHOUSE_PORT" >"$CLICKHOUSE/address"
}

clickhouse_answers() {
  local target answer address=${1#http://}
  for target in /ping '/?query=SELECT+1'; do
    answer=$(
      exec 2>/dev/null 3<>"/dev/tcp/${address%:*}/${address##*:}" || exit 1
      printf 'GET %s HTTP/1.0\r\n\r\n' "$target" >&3
      timeout 5 head -n 1 <&3
    ) || return 1
    [[ $answer == *" 200 "* ]] || return 1
  done
}

# --- both -----------------------------------------------------------------------------------------------------------

wait_for() { # NAME ADDRESS SECONDS
  local name=$1 i
  for ((i = 0; i < $3 * 10; i++)); do
    "${name}_answers" "$2" && return 0
    running_pid "$name" >/dev/null || break
    sleep 0.1
  done
  say "$name does not answer on $2. The last lines of its logs in .local/$name/log:" >&2
  tail -n 15 "$LOCAL/$name/log/server.out" "$LOCAL/$name/log/server.log" >&2 || true
  stop_service "$name" || true
  return 1
}

# Starts what is neither given from outside nor running, and sets KAFKA_BROKERS and CLICKHOUSE_URL.
start_services() {
  local kafka_new='' clickhouse_new=''
  local kafka_instead='or name a running Kafka in KAFKA_BROKERS'
  mkdir -p "$KAFKA" "$CLICKHOUSE"
  if command -v flock >/dev/null; then # two at once would start everything twice
    exec 9>"$LOCAL/lock"
    flock 9
  fi
  "$HERE/setup.sh" services 9>&-

  if ! kafka_is_ours; then
    say "kafka: using $KAFKA_BROKERS"
  elif running_pid kafka >/dev/null; then
    KAFKA_BROKERS=$(cat "$KAFKA/address")
    say "kafka: already running on $KAFKA_BROKERS"
  else
    kafka_new=1
    require_free_port "$KAFKA_PORT" "Kafka" "KAFKA_PORT, $kafka_instead"
    require_free_port "$KAFKA_CONTROLLER_PORT" "Kafka's controller" "KAFKA_CONTROLLER_PORT, $kafka_instead"
  fi
  if ! clickhouse_is_ours; then
    say "clickhouse: using $CLICKHOUSE_URL"
  elif running_pid clickhouse >/dev/null; then
    CLICKHOUSE_URL=$(cat "$CLICKHOUSE/address")
    say "clickhouse: already running on $CLICKHOUSE_URL"
  else
    clickhouse_new=1
    require_free_port "$CLICKHOUSE_PORT" "ClickHouse" "CLICKHOUSE_PORT, or name a running ClickHouse in CLICKHOUSE_URL"
  fi

  # Both are set going before either is waited for.
  if [[ -n $kafka_new ]]; then
    start_kafka
    KAFKA_BROKERS=127.0.0.1:$KAFKA_PORT
  fi
  if [[ -n $clickhouse_new ]]; then
    start_clickhouse
    CLICKHOUSE_URL=http://127.0.0.1:$CLICKHOUSE_PORT
  fi
  if [[ -n $clickhouse_new ]]; then
    wait_for clickhouse "$CLICKHOUSE_URL" 60 || exit 1
    say "clickhouse: started on $CLICKHOUSE_URL"
  fi
  if [[ -n $kafka_new ]]; then
    wait_for kafka "$KAFKA_BROKERS" 60 || exit 1
    say "kafka: started on $KAFKA_BROKERS"
  fi
  printf '%s\n' "KAFKA_BROKERS=$KAFKA_BROKERS" "CLICKHOUSE_URL=$CLICKHOUSE_URL" >"$LOCAL/env"
  exec 9>&-
  export KAFKA_BROKERS CLICKHOUSE_URL
}

# What the services that this process has started had to complain of, and whether they are still there: after COMMAND has failed it may be their fault.
tell_troubles() {
  local name pid
  for name in "${STARTED[@]+"${STARTED[@]}"}"; do
    if ! pid=$(running_pid "$name"); then
      say "$name: is gone"
    elif "${name}_answers" "$(sed 's|^http://||' "$LOCAL/$name/address")"; then
      say "$name: still answers"
    else
      say "$name: runs and does not answer; $(ls "/proc/$pid/fd" 2>/dev/null | wc -l) open files"
      if [[ $name == kafka ]]; then # what its threads wait for
        kill -QUIT "$pid"
        sleep 2
        grep -B 1 -A 4 -E 'State: BLOCKED|deadlock' "$LOCAL/$name/log/server.out" | cut -c 1-160 | head -n 40 || true
      fi
    fi
    grep -hE ' (WARN|ERROR|FATAL) ' "$LOCAL/$name/log/server.log" 2>/dev/null | cut -c 1-300 | tail -n 10 || true
    tail -n 5 "$LOCAL/$name/log/server.out" 2>/dev/null || true
  done
}

# Stops what this process has started, and nothing else.
stop_started() {
  local name
  for name in "${STARTED[@]+"${STARTED[@]}"}"; do
    if stop_service "$name"; then say "$name: stopped"; fi
  done
  STARTED=()
}
