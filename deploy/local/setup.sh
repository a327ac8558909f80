#!/usr/bin/env bash
# Installs what the build and the local services need and the machine lacks.
#   setup.sh tools      packages of the operating system; checks Rust
#   setup.sh bench      the same, and Node.js with npm, a Java compiler and Kafka Streams, which only the benchmarks need
#   setup.sh services   Kafka's jars and the Python environment with the ClickHouse engine, both under .local/
#   setup.sh            both
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# --- packages of the operating system -------------------------------------------------------------------------------

missing=() # what cannot be done without
apt=()
dnf=()
brew=()

lack() { # WHAT APT-PACKAGES DNF-PACKAGES BREW-PACKAGES
  missing+=("$1")
  read -ra words <<<"$2" && apt+=("${words[@]}")
  read -ra words <<<"$3" && dnf+=("${words[@]}")
  read -ra words <<<"$4" && brew+=("${words[@]}")
}

has_header() { printf '#include <%s>\n' "$1" | cc -E - >/dev/null 2>&1; }

need_runtimes() {
  if kafka_is_ours; then
    find_java >/dev/null || lack "Java 17 or newer" JAVA java-21-openjdk-headless openjdk@21
    jars_ready || command -v mvn >/dev/null || lack Maven maven maven maven
  fi
  if clickhouse_is_ours; then
    find_python >/dev/null || lack "Python 3.9 or newer with venv and pip" "python3 python3-venv python3-pip" python3 python3
  fi
}

need_build_tools() {
  if ! command -v cc >/dev/null || ! command -v c++ >/dev/null || ! has_header stdlib.h; then
    lack "C and C++ compiler" "gcc g++ libc6-dev" "gcc gcc-c++" gcc
  fi
  command -v make >/dev/null || lack make make make make
  # Kills ClickHouse at the very system call that a test names. Linux has it; the test says so where it is missing.
  if [[ $(uname) == Linux ]]; then command -v strace >/dev/null || lack strace strace strace ""; fi
  command -v cmake >/dev/null || lack cmake cmake cmake cmake
  command -v pkg-config >/dev/null || lack pkg-config pkg-config pkgconf-pkg-config pkg-config
  if command -v cc >/dev/null; then
    pkg-config --exists openssl 2>/dev/null || has_header openssl/ssl.h || lack "OpenSSL headers" libssl-dev openssl-devel openssl@3
    pkg-config --exists zlib 2>/dev/null || has_header zlib.h || lack "zlib headers" zlib1g-dev zlib-devel zlib
  else
    lack "OpenSSL headers" libssl-dev openssl-devel openssl@3
    lack "zlib headers" zlib1g-dev zlib-devel zlib
  fi
}

# Any Node that runs npm: the recipe brings the one it is measured with.
need_node() {
  if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    lack "Node.js and npm" "nodejs npm" "nodejs npm" node
  fi
}

need_java_compiler() {
  command -v javac >/dev/null || lack "Java compiler, 17 or newer" default-jdk-headless java-21-openjdk-devel openjdk@21
  streams_ready || command -v mvn >/dev/null || lack Maven maven maven maven
}

install_missing() {
  ((${#missing[@]} > 0)) || return 0
  local list
  list=$(printf ', %s' "${missing[@]}")
  list=${list:2}
  if command -v apt-get >/dev/null; then
    if ((EUID != 0)); then
      die "Missing: $list. Run:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${apt[*]/#JAVA/default-jre-headless}"
    fi
    say "installing: $list"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null || say "apt-get update failed; trying with the lists at hand"
    # The release's default Java may be older than 17, or 17 may be gone from a newer release.
    local java=default-jre-headless
    if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then java=openjdk-17-jre-headless; fi
    apt=("${apt[@]/#JAVA/$java}")
    apt-get install -y -qq --no-install-recommends "${apt[@]}" >/dev/null || die "Could not install: ${apt[*]}"
  elif command -v dnf >/dev/null; then
    die "Missing: $list. Run:
  sudo dnf install -y ${dnf[*]}"
  elif command -v brew >/dev/null; then
    die "Missing: $list. Run:
  brew install ${brew[*]}"
  else
    die "Missing: $list. Install them with this system's package manager."
  fi
}

check_rust() {
  if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
    die "Rust (cargo, rustc) is missing. Install it with rustup:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
  fi
}

# --- Kafka's jars and the ClickHouse engine -------------------------------------------------------------------------

STREAMS_POM=$ROOT/tests/benches/processor/streams/pom.xml
STREAMS_LIBS=$ROOT/.local/streams/libs

hash_of() { cksum <"$1" | tr ' ' -; }

jars_ready() { [[ $(cat "$KAFKA_LIBS/.stamp" 2>/dev/null) == "$(hash_of "$HERE/kafka/pom.xml")" ]]; }

venv_ready() {
  [[ $(cat "$CLICKHOUSE_VENV/.stamp" 2>/dev/null) == "$(hash_of "$HERE/clickhouse/requirements.txt")" ]] &&
    "$CLICKHOUSE_VENV/bin/python" -V >/dev/null 2>&1
}

streams_ready() { [[ $(cat "$STREAMS_LIBS/.stamp" 2>/dev/null) == "$(hash_of "$STREAMS_POM")" ]]; }

# fetch_libs WHAT POM LIBS: the stamp comes last, so that an interrupted run is not taken for a complete one.
fetch_libs() {
  local what=$1 pom=$2 libs=$3
  say "fetching $what"
  mkdir -p "${libs%/*}"
  rm -rf "$libs.new"
  mvn -q -B -f "$pom" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime "-DoutputDirectory=$libs.new" >"${libs%/*}/maven.out" 2>&1 || {
    tail -n 20 "${libs%/*}/maven.out" >&2
    die "Maven could not fetch $what."
  }
  hash_of "$pom" >"$libs.new/.stamp"
  rm -rf "$libs"
  mv "$libs.new" "$libs"
}

fetch_engine() {
  venv_ready && return
  say "fetching the ClickHouse engine"
  mkdir -p "$CLICKHOUSE" "${CLICKHOUSE_VENV%/*}"
  rm -rf "$CLICKHOUSE_VENV"
  {
    "$(find_python)" -m venv "$CLICKHOUSE_VENV" &&
      "$CLICKHOUSE_VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps \
        -r "$HERE/clickhouse/requirements.txt"
  } >"$CLICKHOUSE/pip.out" 2>&1 || {
    tail -n 20 "$CLICKHOUSE/pip.out" >&2
    die "pip could not install the ClickHouse engine."
  }
  hash_of "$HERE/clickhouse/requirements.txt" >"$CLICKHOUSE_VENV/.stamp"
}

what=${1:-all}
case $what in
tools | bench | services | all) ;;
*) die "usage: setup.sh [tools|bench|services]" ;;
esac

need_runtimes
if [[ $what != services ]]; then need_build_tools; fi
if [[ $what == bench ]]; then
  need_node
  need_java_compiler
fi
install_missing
if [[ $what != services ]]; then check_rust; fi
if [[ $what == bench ]] && ! streams_ready; then fetch_libs "Kafka Streams" "$STREAMS_POM" "$STREAMS_LIBS"; fi
if [[ $what != tools && $what != bench ]]; then
  if kafka_is_ours && ! jars_ready; then fetch_libs "Kafka's jars" "$HERE/kafka/pom.xml" "$KAFKA_LIBS"; fi
  if clickhouse_is_ours; then fetch_engine; fi
fi
