#!/usr/bin/env bash
# The test command: sets up what is missing, builds everything, runs every test, and ends with "N passed, N failed".
# Arguments go to the test runner, for instance: tests/run.sh --filter FullyQualifiedName~Bm25
# Tests of the category Long, which take minutes, run where the filter names a category; tests/long.sh does that.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

eng/setup.sh || exit 1
eng/build.sh Retro.sln || exit 1

# Pages are tested in a browser; a machine that is not a person's gets one (a quarter of a minute), elsewhere the tests take what is there.
if [ "${CI-}" = true ] && [ "$(id -u)" -eq 0 ] && ! command -v chromium >/dev/null && command -v apt-get >/dev/null; then
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
    echo "Chromium could not be installed: pages are not tested." >&2
fi

# PostgreSQL is tested with PGlite, a package of Node.js, unless RETRO_POSTGRES names a server: likewise.
if [ "${CI-}" = true ] && [ -z "${RETRO_POSTGRES-}" ] && [ "$(id -u)" -eq 0 ] && ! command -v npm >/dev/null && command -v apt-get >/dev/null; then
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nodejs npm; } >/dev/null 2>&1 ||
    echo "Node.js could not be installed: Retro.Postgres is not tested." >&2
fi

# Training in several processes is tested with OpenMPI: likewise.
if [ "${CI-}" = true ] && [ "$(id -u)" -eq 0 ] && ! command -v mpirun >/dev/null && command -v apt-get >/dev/null; then
  eng/setup.sh --distributed >/dev/null || echo "OpenMPI could not be installed: training in several processes is not tested." >&2
fi

arguments=()
filter=
while [ $# -gt 0 ]; do
  case $1 in
    --filter) filter=${2-}; shift ;;
    --filter=* | --filter:*) filter=${1#--filter?} ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
case $filter in
  *Category*) ;;
  *) filter=${filter:+"($filter)&"}Category!=Long ;;
esac

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export RETRO_NOT_COMPARED=$results/not-compared.txt
# One test project after the other (-m:1): each expects the processors for itself.
dotnet test Retro.sln -c Release --no-build -m:1 --logger "trx;LogFilePrefix=tests" --logger "console;verbosity=normal" --results-directory "$results" --filter "$filter" ${arguments[@]+"${arguments[@]}"}
status=$?

# The counts are read from the result files: a runner that found no test prints none and still exits 0.
count() { cat "$results"/*.trx 2>/dev/null | grep -o "<Counters [^>]*>" | sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p" | awk '{ n += $1 } END { print n + 0 }'; }
total=$(count total)
executed=$(count executed)
passed=$(count passed)
failed=$((executed - passed))
skipped=$((total - executed))
if [ "$passed" -eq 0 ] && [ "$failed" -eq 0 ]; then
  echo "No test ran." >&2
  status=1
fi
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
  echo "The test run ended abnormally (exit code $status)." >&2
  failed=1
fi
[ ! -e "$RETRO_NOT_COMPARED" ] || sort -u "$RETRO_NOT_COMPARED"
[ "$skipped" -eq 0 ] || echo "$skipped skipped (their reasons stand above)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && exit "$status"
exit 1
