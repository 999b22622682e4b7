#!/usr/bin/env bash
# Makes this checkout buildable: installs what builds FAISS's C API, builds it once into artifacts/native, and says in a line each what it found and did.
# Safe to run again; a second run only checks. With --distributed also OpenMPI, for training in several processes.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
native="$root/artifacts/native"

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

[ $# -eq 0 ] || [ "$*" = --distributed ] || fail "--distributed is all that can be asked for, and \"$*\" was."
command -v dotnet >/dev/null || fail "the .NET SDK 10 is missing; install it (https://dotnet.microsoft.com/download) and run this again."
case $(dotnet --version) in
  1[0-9].*) ;;
  *) fail "the .NET SDK 10 or newer is needed, found $(dotnet --version); install it and run this again." ;;
esac

missing=()
need() { # need <package> <test command...>
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need g++ command -v g++
need cmake command -v cmake
need make command -v make
need libfaiss-dev ls /usr/include/faiss/Index.h
need libopenblas-pthread-dev ls /usr/lib/"$(uname -m)"-linux-gnu/openblas-pthread/libopenblas.a
[ "${1-}" != --distributed ] || need openmpi-bin command -v mpirun

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}; install them with this system's package manager and run this again."
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  # sudo keeps no proxy of its caller's.
  proxies=()
  for name in http_proxy https_proxy no_proxy; do
    [ -z "${!name-}" ] || proxies+=("$name=${!name}")
  done
  apt() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive ${proxies[@]+"${proxies[@]}"} apt-get -o DPkg::Lock::Timeout=600 "$@"; }
  say "installing ${missing[*]}"
  log=$(mktemp)
  # A source of somebody else's that does not answer is no reason: what is missing may come from another.
  if ! { { apt update || true; } && apt install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "could not install ${missing[*]}; install them by hand and run this again."
  fi
  rm -f "$log"
fi

[[ $(cat /usr/include/faiss/impl/IDSelector.h 2>/dev/null) == *IDSelectorBitmap* ]] ||
  fail "this system's FAISS is too old: 1.7.3 or newer is needed, which Debian 12 and Ubuntu 24.04 have. Pack Retro on one of these: the package runs here."

# The checksum of what goes in decides whether a build is needed; it stands beside what came out.
fingerprint=$({ cat "$root"/src/Native/*; dpkg-query -W libfaiss-dev libopenblas-pthread-dev 2>/dev/null || true; } | sha256sum | cut -d' ' -f1)
if [ -e "$native/libfaiss_c.so" ] && [ "$(cat "$native/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
  say "libfaiss_c.so is up to date"
  exit 0
fi
say "building libfaiss_c.so (half a minute)"
log=$(mktemp)
mkdir -p "$native"
build=$(mktemp -d "$native/build.XXXXXX") # its own: two may run at once, and one that was stopped leaves half a folder
trap 'rm -rf "$build"' EXIT
if ! { cmake -S "$root/src/Native" -B "$build" && cmake --build "$build" --parallel 2; } >"$log" 2>&1; then
  tail -n 30 "$log" >&2
  fail "libfaiss_c.so did not build (above)."
fi
rm -f "$log"
# Renamed, not written over: a program that runs has the old one mapped.
mv -f "$build/libfaiss_c.so" "$native/"
echo "$fingerprint" >"$native/fingerprint"
say "done"
