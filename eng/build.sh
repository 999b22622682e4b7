#!/usr/bin/env bash
# Restores and builds a project or solution in Release: eng/build.sh <project>. Where packages cannot be fetched, says in a sentence which and from where.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! dotnet restore "$1" -v quiet -nologo >"$log" 2>&1; then
  # NU1 and three digits: a source does not answer, or lacks a package.
  # One program alone reads to the end: what a closed pipe says must not stand before the sentence.
  reason=$(sed -n '0,/error NU1[0-9]*:/s/.*error NU1[0-9]*: *\(.*\)/\1/p' "$log" | sed 's/ \[[^]]*\]$//')
  if [ -z "$reason" ]; then
    tail -n 30 "$log" >&2
    echo "build: $1 could not be restored (above)." >&2
    exit 1
  fi
  wanted=$(sed -n 's/.*<PackageVersion Include="\([^"]*\)" Version="\([^"]*\)".*/\1 \2/p' Directory.Packages.props | paste -sd, | sed 's/,/, /g')
  echo "build: NuGet could not fetch the packages that $1 needs (of $wanted): ${reason%.}. Make a source that serves them reachable (dotnet nuget list source shows those in use) and run this again." >&2
  exit 1
fi
dotnet build "$1" -c Release --no-restore -v quiet -nologo || { echo "build: $1 does not build (above)." >&2; exit 1; }
