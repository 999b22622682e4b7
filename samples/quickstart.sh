#!/usr/bin/env bash
# From a folder of text to text with sources, by one command: sets up what is missing, builds, and runs samples/Quickstart.
#   samples/quickstart.sh                               the XML documentation of the .NET reference packs
#   samples/quickstart.sh --corpus <folder or file>     a corpus of one's own
#   samples/quickstart.sh --embedder <folder>           keys by a pretrained model of BERT's kind or sentence-transformers
#   samples/quickstart.sh --minutes 5                   a shorter (or longer) run
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

"$root/eng/setup.sh"
"$root/eng/build.sh" samples/Quickstart
exec dotnet run --project "$root/samples/Quickstart" -c Release --no-build -- "$@"
