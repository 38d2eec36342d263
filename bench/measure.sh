# Sourced by the benchmarks: runs a command and notes wall seconds, CPU seconds and peak memory.
#   measure NAME COMMAND...      sets  wall_NAME cpu_NAME peak_NAME
measure() {
  local name=$1; shift
  local out; out=$(mktemp)
  if ! /usr/bin/time -f '%e %U %S %M' -o "$out" "$@" >"${LOG:-/dev/null}" 2>&1; then
    echo "benchmark command failed: $*" >&2; cat "${LOG:-/dev/null}" >&2; return 1
  fi
  local wall user system peak; read -r wall user system peak < <(tail -1 "$out"); rm -f "$out"
  printf -v "wall_$name" %s "$wall"; printf -v "peak_$name" %s "$((peak / 1024))"
  printf -v "cpu_$name" %s "$(awk -v a="$user" -v b="$system" 'BEGIN { printf "%.2f", a + b }')"
}
# row CASE OURS THEIRS PEER: one line with both and the ratios peer/oxbox
row() {
  local us_wall=wall_$2 them_wall=wall_$3 us_cpu=cpu_$2 them_cpu=cpu_$3 us_peak=peak_$2 them_peak=peak_$3
  awk -v c="$1" -v p="$4" -v wa="${!us_wall}" -v wb="${!them_wall}" -v ca="${!us_cpu}" -v cb="${!them_cpu}" \
    -v ma="${!us_peak}" -v mb="${!them_peak}" 'BEGIN {
    printf "| %-34s | %-8s | %6.2f | %6.2f | %5.1fx | %6.2f | %6.2f | %5.1fx | %4d | %4d | %5.1fx |\n", c, p, ca, cb, ca ? cb/ca : 0, wa, wb, wa ? wb/wa : 0, ma, mb, ma ? mb/ma : 0 }'
}
header() {
  echo "| case                               | peer     | CPU s: oxbox | peer | ratio | wall s: oxbox | peer | ratio | MiB: oxbox | peer | ratio |"
  echo "|---|---|---|---|---|---|---|---|---|---|---|"
}
need() { for tool in "$@"; do command -v "$tool" >/dev/null || [ -x "$tool" ] || { echo "missing: $tool (apt-get install time buildah skopeo docker-registry)" >&2; exit 1; }; done; }
