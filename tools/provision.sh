# Sourced by ./quickstart and ./test: everything they need on a fresh Debian 12 or 13 machine, each step done
# only when it is missing. A step that cannot be done says so in one line and ends the script.

PROJECT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$PROJECT/.cache/venv
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
# Compiled bytecode is what makes a short command short.
unset PYTHONDONTWRITEBYTECODE

give_up() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" = 0 ] || give_up "root is needed to install packages and to run containers: run it as root (sudo ./$(basename "$0"))"
}

# packages NAME...: installs those that are missing, in one apt call
packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || give_up "these Debian packages are missing and there is no apt-get: ${missing[*]}"
  mkdir -p "$PROJECT/.cache"
  local log=$PROJECT/.cache/apt.log
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
    give_up "apt-get could not install ${missing[*]}: $(grep -m1 '^E:' "$log" || tail -n1 "$log")"
}

# The first Python that is new enough and can make a venv; the distribution's own first.
find_python() {
  local python
  for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$python"
      return
    fi
  done
  return 1
}

# What the installed wheel was made from: when it changes, the wheel is made again.
fingerprint() {
  (cd "$PROJECT" && find src pyproject.toml README.md -type f -not -name '*.pyc' -not -name 'tiffin-init-*' -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
}

# environment REQUIREMENT...: .cache/venv with the wheel of this checkout and the given requirements
environment() {
  local python
  find_python >/dev/null || packages python3-venv
  python=$(find_python) || give_up "Python 3.11 or newer with venv is needed: apt-get install python3-venv"
  command -v cc >/dev/null || packages gcc libc6-dev
  mkdir -p "$PROJECT/.cache"
  local log=$PROJECT/.cache/pip.log
  [ -x "$VENV/bin/pip" ] || "$python" -m venv "$VENV" >"$log" 2>&1 || give_up "cannot make $VENV: $(tail -n1 "$log")"
  local print had name missing=()
  print=$(fingerprint)
  had=$(cat "$VENV/tiffin.stamp" 2>/dev/null || true) # the wheel's fingerprint and the requirements so far
  for name in "$@"; do
    [[ " $had " = *" $name "* ]] || missing+=("$name")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    "$VENV/bin/pip" install -q "${missing[@]}" >"$log" 2>&1 ||
      give_up "pip could not install ${missing[*]}: $(tail -n1 "$log")"
  fi
  had="${had#* } ${missing[*]}"
  if [ "$(cut -d' ' -f1 "$VENV/tiffin.stamp" 2>/dev/null)" = "$print" ]; then
    printf '%s %s' "$print" "$had" >"$VENV/tiffin.stamp"
    return
  fi
  # The wheel itself, not an editable install: what is tested is what users get.
  "$VENV/bin/pip" install -q --force-reinstall --no-deps "$PROJECT" >"$log" 2>&1 &&
    "$VENV/bin/pip" install -q "$PROJECT" >>"$log" 2>&1 || give_up "pip could not install tiffin: $(tail -n1 "$log")"
  printf '%s %s' "$print" "$had" >"$VENV/tiffin.stamp"
}
