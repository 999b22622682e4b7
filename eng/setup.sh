#!/usr/bin/env bash
# Makes this checkout buildable: finds out where TorchSharp comes from (TorchSource), installs what is missing and says
# in a line each what it found and did. Safe to run again; a second run only checks.
#
#   TORCH_SOURCE=Package|System   decides instead of asking the package feed
#   LIBTORCH=<folder>             a libtorch or PyTorch installation (1.13 to 2.x, CPU or CUDA) instead of the distribution's
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
props="$root/eng/TorchSource.props"
native="$root/artifacts/native"
libtorch=${LIBTORCH:-}
torchsharp=0.106.0
tokenizers=2.0.0

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v dotnet >/dev/null || fail "the .NET SDK 10 is missing; install it (https://dotnet.microsoft.com/download) and run this again."
case $(dotnet --version) in
  1[0-9].*) ;;
  *) fail "the .NET SDK 10 or newer is needed, found $(dotnet --version); install it and run this again." ;;
esac

# Prints "<TorchSharp version> <Tokenizers version>" of what the feed gives at or above the versions the library is written
# against, or says why the packages are of no use here.
packages_that_run() {
  local probe folder unmet
  probe=$(mktemp -d)
  trap 'rm -rf "$probe"' RETURN
  cat >"$probe/probe.csproj" <<'PROJECT'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><TargetFramework>net10.0</TargetFramework></PropertyGroup>
  <ItemGroup>
    <PackageReference Include="TorchSharp" Version="0.106.0" />
    <PackageReference Include="Microsoft.ML.Tokenizers" Version="2.0.0" />
  </ItemGroup>
</Project>
PROJECT
  dotnet restore "$probe/probe.csproj" >/dev/null 2>&1 || { echo "the package feed lacks TorchSharp 0.106 or Microsoft.ML.Tokenizers 2.0"; return 1; }
  version_of() { sed -n "s:.*\"$1/\([0-9][^\"]*\)\".*:\1:p" "$probe/obj/project.assets.json" | head -n 1; }
  folder=$(sed -n 's:.*"packagesPath"\: "\(.*\)".*:\1:p' "$probe/obj/project.assets.json" | head -n 1)
  unmet=$(ldd "$folder/torchsharp/$(version_of TorchSharp)/runtimes/linux-x64/native/libLibTorchSharp.so" 2>&1 | sed -n "s/.*version \`\([^']*\)' not found.*/\1/p" | head -n 1)
  if [ -n "$unmet" ]; then
    echo "the package feed has TorchSharp $(version_of TorchSharp), whose native library needs $unmet, which this system's C++ runtime lacks"
    return 1
  fi
  echo "$(version_of TorchSharp) $(version_of Microsoft.ML.Tokenizers)"
}

# --- which source ---
source=${TORCH_SOURCE:-}
if [ -z "$source" ] && [ -n "$libtorch" ]; then
  source=System
fi
if [ -z "$source" ] && [ -f "$props" ]; then
  source=$(sed -n 's:.*<TorchSource>\(.*\)</TorchSource>.*:\1:p' "$props")
  [ -n "$libtorch" ] || libtorch=$(sed -n 's:.*<Libtorch>\(.*\)</Libtorch>.*:\1:p' "$props")
  torchsharp=$(sed -n 's:.*<TorchSharpVersion>\(.*\)</TorchSharpVersion>.*:\1:p' "$props")
  tokenizers=$(sed -n 's:.*<TokenizersVersion>\(.*\)</TokenizersVersion>.*:\1:p' "$props")
  say "TorchSource $source, as found before (delete eng/TorchSource.props to ask again)"
fi
if [ -z "$source" ]; then
  if found=$(packages_that_run); then
    source=Package
    read -r torchsharp tokenizers <<<"$found"
    say "the package feed has TorchSharp $torchsharp and Microsoft.ML.Tokenizers $tokenizers: TorchSource Package"
  else
    source=System
    say "$found: TorchSource System"
  fi
fi
case $source in
  Package|System) ;;
  *) fail "TORCH_SOURCE is '$source'; it has to be Package or System." ;;
esac

write_props() {
  cat >"$props.new" <<PROPS
<Project>
  <!-- Written by eng/setup.sh. -->
  <PropertyGroup>
    <TorchSource>$source</TorchSource>
    <Libtorch>$libtorch</Libtorch>
    <TorchSharpVersion>$torchsharp</TorchSharpVersion>
    <TokenizersVersion>$tokenizers</TokenizersVersion>
  </PropertyGroup>
</Project>
PROPS
  if cmp -s "$props.new" "$props"; then rm "$props.new"; else mv "$props.new" "$props"; fi
}

if [ "$source" = Package ]; then
  write_props
  say "done; FAISS is looked for as libfaiss_c where the loader finds it"
  exit 0
fi

# --- what the distribution has to give ---
missing=()
need() { # need <package> <test command...>
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
header() { local path; for path in /usr/include/"$1" /usr/local/include/"$1" /usr/include/*-linux-gnu/"$1"; do [ -e "$path" ] && return 0; done; return 1; }
library() { ldconfig -p | grep -q "$1" || ls /usr/lib/*/"$1" /usr/local/lib/"$1"; }

need g++ command -v g++
need cmake command -v cmake
need make command -v make
need libopenblas-dev library libopenblas.so
need libfaiss-dev header faiss/Index.h
[ -n "$libtorch" ] || need libtorch-dev header torch/csrc/autograd/autograd.h

if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}; install them with this system's package manager, or name a libtorch with LIBTORCH=<folder>, and run this again."
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "missing: ${missing[*]}; install them as root: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing ${missing[*]}"
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    fail "could not install ${missing[*]}; install them by hand, or name a libtorch with LIBTORCH=<folder>, and run this again."
  fi
  rm -f "$log"
else
  say "found g++, cmake, OpenBLAS, FAISS and the libtorch of ${libtorch:-the distribution}"
fi
if [ -n "$libtorch" ]; then
  [ -e "$libtorch/include/torch/csrc/autograd/autograd.h" ] || fail "LIBTORCH is '$libtorch', which holds no include/torch; name the folder of a libtorch or of Python's torch package."
fi

# --- the native entries ---
# The checksum of what goes in decides whether a build is needed; it stands beside what came out.
fingerprint=$({ cat "$root"/src/Native/*; echo "$libtorch"; dpkg-query -W libtorch-dev libfaiss-dev libopenblas-dev 2>/dev/null || true; } | sha256sum | cut -d' ' -f1)
if [ -e "$native/libretro_torch.so" ] && [ -e "$native/libfaiss_c.so" ] && [ "$(cat "$native/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
  say "native entries are up to date"
else
  say "building the native entries (about half a minute)"
  log=$(mktemp)
  if ! { cmake -S "$root/src/Native" -B "$native/build" -DLIBTORCH="$libtorch" && cmake --build "$native/build" --parallel 2; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "the native entries did not build (above); is the libtorch between 1.13 and 2.x, with its headers?"
  fi
  rm -f "$log"
  cp "$native/build/libretro_torch.so" "$native/build/libfaiss_c.so" "$native/"
  echo "$fingerprint" >"$native/fingerprint"
fi

# --- which BLAS is behind libtorch: the reference one is more than 100 times slower ---
torch_library=$(ldd "$native/libretro_torch.so" | sed -n 's/.*libtorch_cpu.so[^ ]* => \([^ ]*\).*/\1/p')
[ -n "$torch_library" ] || fail "the loader does not find libtorch_cpu.so, which the native entry needs; is the libtorch still where it was?"
blas=$(ldd "$torch_library" | sed -n 's/.*lib\(blas\|openblas\|mkl[^ ]*\)[^ ]*\.so[^ ]* => \([^ ]*\).*/\2/p' | head -n 1)
blas=$([ -n "$blas" ] && readlink -f "$blas" || true)
case $blas in
  "") say "libtorch at $torch_library, with the BLAS built into it" ;;
  *openblas*|*mkl*) say "libtorch at $torch_library, with $blas" ;;
  *) fail "libtorch uses the BLAS $blas, more than 100 times slower than OpenBLAS; run: update-alternatives --config libblas.so.3-$(uname -m)-linux-gnu" ;;
esac

write_props
say "done: TorchSource System"
