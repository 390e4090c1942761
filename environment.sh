#!/bin/sh
# Installs the locked packages into a virtual environment. `make env` sets the variables. A second run continues a stopped one.
set -eu
: "$PYTHON" "$VENV" "$LOCK" "$TORCH_INDEX" "$SPACE_GB"
log=$VENV/install.log

stop() {
  printf '%s\n' "$*" >&2
  exit 1
}

pip_install() { # ARGUMENT...
  "$VENV/bin/python" -m pip install --no-deps --no-user --no-input --progress-bar off --disable-pip-version-check "$@" >"$log" 2>&1
}

# Says why pip failed. Without a connection pip ends with `No matching distribution`; the connection's error tells more.
reason() {
  awk '/connection broken by/ {
      sub(/.*([(,] ?["\047]|>: )/, ""); sub(/["\047][)"\047]*: \/.*/, ""); lost = "no connection: " $0
    }
    /^ERROR: / && !/ResolutionImpossible|ERROR: Exception/ { sub(/^ERROR: /, ""); error = $0 }
    NF && !/^\[notice\]/ { last = $0 }
    END { print lost != "" && error ~ /^No matching|^Cannot install/ ? lost : error != "" ? error : last }' "$log"
}

[ "$(uname -s)" = Linux ] || stop "The locked packages are built for Linux: use a Linux machine or container."
version=$("$PYTHON" -c 'import sys; print("Python %d.%d" % sys.version_info[:2])' 2>/dev/null) || version=missing
[ "$version" = "Python 3.11" ] ||
  stop "Python 3.11 is needed, but $PYTHON is $version. \
With uv (https://docs.astral.sh/uv): uv python install 3.11, then make demo PYTHON=\"\$(uv python find 3.11)\""
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
  stop "$PYTHON cannot make virtual environments: install its venv module (Debian and Ubuntu: apt install python3.11-venv)."

mkdir -p "$VENV"
free=$(df -Pk "$VENV" | awk 'NR == 2 { print $4 }')
used=$(du -sk "$VENV" | awk '{ print $1 }')
[ $((free + used)) -ge $((SPACE_GB * 1000000)) ] ||
  stop "Too little space: $VENV needs $SPACE_GB GB, and $PWD has $((free / 1000000)) GB free. Free some, or clone to a larger disk."

rm -rf "$VENV/.ready" "$VENV/tmp"
echo "Installing the locked packages into $VENV: about 4 GB, a few minutes, once."
"$VENV/bin/python" -c 'import pip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null ||
  "$PYTHON" -m venv --clear "$VENV"
# /tmp is often small or in memory, so pip works on the disk whose space was checked.
mkdir "$VENV/tmp"
TMPDIR=$(cd "$VENV/tmp" && pwd)
export TMPDIR
# pip writes INSTALLER last. Without it the package is incomplete, though pip would count it as installed.
for package in "$VENV"/lib/python3.11/site-packages/*.dist-info; do
  [ -e "$package/INSTALLER" ] || rm -rf "$package"
done

torch=$(grep '^torch==' "$LOCK") || stop "$LOCK must pin torch."
if ! pip_install --retries 2 "$torch"; then
  first=$(reason)
  index=$(printf '%s' "$TORCH_INDEX" | sed 's,//[^/]*@,//,') # without a password
  echo "Taking $torch from $index"
  pip_install --retries 2 --index-url "$TORCH_INDEX" "$torch" || stop "Cannot get $torch from pip's index ($first) or from \
$index ($(reason)). Check the network and HTTPS_PROXY, or name a mirror of PyTorch's CPU index: make env TORCH_INDEX=URL"
fi
pip_install -r "$LOCK" || stop "Cannot install $LOCK: $(reason). Run make again to continue. pip's messages are in $log"
pip_install --no-build-isolation -e . || stop "Cannot install gap-replay: $(reason). pip's messages are in $log"
rm -rf "$VENV/tmp"
