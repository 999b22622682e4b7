#!/usr/bin/env bash
# The tests that take minutes: learning, whole runs and interrupts of the quickstart, the whole evaluation, comparisons in bfloat16, killed builds, trainings and generation while another thread collects all the time, many random texts.
# Sets up, builds and ends as tests/run.sh does: "N passed, N failed".
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" --filter Category=Long "$@"
