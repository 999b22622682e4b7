#!/usr/bin/env bash
# The test command: sets up what is missing, builds everything, runs every test, and ends with "N passed, N failed".
# Arguments go to the test runner, for instance: tests/run.sh --filter FullyQualifiedName~Bm25
# Tests of the category Long, which take minutes, run where the filter names a category; tests/long.sh does that.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1
# A compiler ends before it gains what it costs to count what of its own code is worth compiling once more: a sixth of its time.
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 DOTNET_TieredPGO=0

eng/setup.sh || exit 1
eng/build.sh Retro.sln || exit 1

# What some tests need, and where they are skipped without it. A machine that is not a person's gets what it lacks; elsewhere they take what is there.
provide() { # provide <command> <what is not tested without it> <package...>
  local command=$1 what=$2
  shift 2
  if [ "${CI-}" = true ] && [ "$(id -u)" -eq 0 ] && ! command -v "$command" >/dev/null && command -v apt-get >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >/dev/null 2>&1 ||
      echo "$* could not be installed: $what." >&2
  fi
}
provide chromium "pages are not tested" chromium
[ -n "${RETRO_POSTGRES-}" ] || provide npm "Retro.Postgres, which PGlite tests, a package of Node.js, is not tested" nodejs npm
provide mpirun "training in several processes is not tested" openmpi-bin

arguments=()
filter=
also() { [ -z "$1" ] || filter="${filter:+($filter)&}($1)"; }
while [ $# -gt 0 ]; do
  case $1 in
    --filter) also "${2-}"; shift ;;
    --filter=* | --filter:*) also "${1#--filter?}" ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
# Most tests leave a processor idle, so the whole runs in three lanes side by side, of about the same length: the tool's tests and those of generation; what
# packs, builds, runs samples, experiments or several processes; and all others. In a lane one test project comes after the other (-m:1).
name=FullyQualifiedName
tools=(Retro.Tests.Cli. Retro.Tests.Generation.)
wholes=(Retro.Tests.Cli.Experiments. Retro.Tests.Build. Retro.Tests.Samples. Retro.Tests.ReadmeTests. Retro.Postgres. Retro.Distributed.)
of() { printf "|$name~%s" "$@" | cut -c2-; }
but() { printf "&$name!~%s" "$@"; }
case $filter in
  '')
    lanes=(
      "Category!=Long$(but "${tools[@]}" "${wholes[@]}")"
      "Category!=Long&($(of "${tools[@]}"))$(but "${wholes[@]}")"
      "Category!=Long&($(of "${wholes[@]}"))"
    ) ;;
  *Category[=!~]*) lanes=("$filter") ;;
  *) lanes=("($filter)&Category!=Long") ;;
esac

results=$(mktemp -d)
running=()
trap 'kill "${running[@]}" 2>/dev/null; rm -rf "$results"' EXIT
export RETRO_NOT_COMPARED=$results/not-compared.txt
for lane in "${lanes[@]}"; do
  dotnet test Retro.sln -c Release --no-build -m:1 --logger "trx;LogFilePrefix=tests" --logger "console;verbosity=normal" \
    --results-directory "$results/${#running[@]}" --filter "$lane" ${arguments[@]+"${arguments[@]}"} &
  running+=($!)
done
status=0
for process in "${running[@]}"; do
  wait "$process" || status=$?
done

# The counts are read from the result files: a runner that found no test prints none and still exits 0.
count() { cat "$results"/*/*.trx 2>/dev/null | grep -o "<Counters [^>]*>" | sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p" | awk '{ n += $1 } END { print n + 0 }'; }
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
