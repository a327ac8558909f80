#!/usr/bin/env bash
# The part of `make check` that is not cargo's own: dependencies, licences, unused dependencies, spelling. Tools are installed into target/tools on first use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TOOLS=$PWD/target/tools
export PATH="$TOOLS/bin:$PATH"

need() { # COMMAND CRATE VERSION
  if ! command -v "$1" >/dev/null; then
    printf 'installing %s %s into target/tools (once)\n' "$2" "$3"
    cargo install --quiet --locked --root "$TOOLS" --version "$3" "$2"
  fi
}

need cargo-machete cargo-machete 0.9.2
need typos typos-cli 1.52.0
need cargo-deny cargo-deny 0.20.2

cargo machete
typos
# Advisories come from a repository that is fetched; where that cannot be reached, the rest is still checked.
cargo deny --locked check bans licenses sources
cargo deny --locked check advisories || printf 'advisories were not checked\n'
