#!/bin/bash
# Installs the Debian packages that are missing; asks for new lists only where the old ones fail.
# Usage (as root): apt_install.sh PACKAGE...
set -euo pipefail
if states=$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null) &&
    ! grep -qvx installed <<<"$states"; then
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -o DPkg::Lock::Timeout=300 -qq)
install=("${apt[@]}" install -y --no-install-recommends "$@")
"${install[@]}" >/dev/null 2>&1 || { "${apt[@]}" update && "${install[@]}" >/dev/null; }
