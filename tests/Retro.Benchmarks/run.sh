#!/bin/bash
# One Markdown report of what everything costs, each path as a share of the machine's limit that bounds it; some minutes on an otherwise idle machine.
# RETRO_DEVICE=cuda computes the models there. With --retro-pytorch FOLDER, a checkout of it, the same shapes are measured there, too (python3-torch; einops in
# PYTHONPATH).
set -euo pipefail
cd "$(dirname "$0")/../.."
eng/setup.sh > /dev/null
eng/build.sh tests/Retro.Benchmarks > /dev/null
dotnet run -c Release --no-build --project tests/Retro.Benchmarks -- report
if [ $# -gt 0 ]; then
    echo
    dotnet run -c Release --no-build --project tests/Retro.Benchmarks -- peers "$@"
fi
