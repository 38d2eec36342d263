#!/bin/sh
set -e
for script in $(find /docker-entrypoint.d/ -type f -name '*.sh' | sort); do
  [ -x "$script" ] || { echo "$0: ignoring $script, not executable"; continue; }
  echo "$0: running $script"
  "$script"
done
exec "$@"
