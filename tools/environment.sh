#!/bin/sh
# The virtual environment of the Makefile, of a Python that everything runs on.
#
#   sh tools/environment.sh check VENV [PYTHON]        is it there, and of such a Python (of the version of PYTHON)?
#   sh tools/environment.sh make VENV EXTRA [PYTHON]   make it, anew where it is of another version; EXTRA: dev, bench, ...
set -eu

# torchattacks asks for a requests that MLflow cannot live with, and for torchvision, which it does not use here.
without_dependencies='torchattacks==3.5.1'

# hydra-core 1.3 does not run on Python 3.14.
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'

version() {
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo none
}

# Sets `python`, or says what is missing.
choose() {
  seen=
  for python in ${1:-python3.13 python3.12 python3.11 python3}; do
    if ! command -v "$python" >/dev/null 2>&1; then
      seen="$seen, no $python"
    elif ! "$python" -c "$fits" >/dev/null 2>&1; then
      seen="$seen, $python of version $(version "$python")"
    elif ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      seen="$seen, $python without venv (on Debian and Ubuntu: apt install python$(version "$python")-venv)"
    else
      return 0
    fi
  done
  echo "error: expected a Python from 3.11 to 3.13 with its module venv, got ${seen#, }; install one, or name it:" \
    "make PYTHON=/path/to/python3.12" >&2
  exit 1
}

check() {
  "$1/bin/python" -c "$fits" >/dev/null 2>&1 || return 1
  [ -z "${2:-}" ] || [ "$(version "$1/bin/python")" = "$(version "$2")" ]
}

make_it() {
  choose "${3:-}"
  clear=
  # Never a folder that is no environment.
  if [ -f "$1/pyvenv.cfg" ] && [ "$(version "$1/bin/python")" != "$(version "$python")" ]; then
    clear=--clear
  fi
  echo "$1: Python $(version "$python") ($python)"
  "$python" -m venv $clear "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$2]"
  if [ "$2" = bench ]; then
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$without_dependencies"
  fi
  touch "$1/.ready"
}

case ${1:-} in
  check) shift; check "$@" ;;
  make) shift; make_it "$@" ;;
  *) echo "usage: sh tools/environment.sh check|make VENV ..." >&2; exit 2 ;;
esac
