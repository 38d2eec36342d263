# Sourced by the benchmarks: runs a command and notes wall seconds, CPU seconds and peak memory.
#   measure NAME COMMAND...        sets  wall_NAME cpu_NAME peak_NAME
#   sample NAME TIMES COMMAND...   adds a measurement of a command or function to those of NAME
#   middle NAME                    prints wall, CPU and peak of the sample with the median CPU
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
# Prints the CPU seconds of a process and all its descendants, those that ended included.
cpu_of_tree() {
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v root="$1" -v hz="$(getconf CLK_TCK)" '
    { pid = $1; sub(/^.*\) /, ""); parent[pid] = $2; ticks[pid] = $12 + $13 + $14 + $15 }
    END { for (pid in parent) { at = pid; while (at in parent && at != root) at = parent[at]; if (at == root) sum += ticks[pid] }
          printf "%.2f", sum / hz }'
}
# The descendants of a process and itself.
tree_of() {
  { cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v root="$1" '{ pid = $1; sub(/^.*\) /, ""); parent[pid] = $2 }
    END { for (pid in parent) { at = pid; while (at in parent && at != root) at = parent[at]; if (at == root) print pid } }'
}
# Sums the peaks of a daemon's processes, and starts them anew with "reset".
peak_of_tree() {
  local pid sum=0 peak
  for pid in $(tree_of "$1"); do
    if [ "${2:-}" = reset ]; then echo 5 > "/proc/$pid/clear_refs" || true; fi
    peak=$(awk '/VmHWM/ { print int($2 / 1024) }' "/proc/$pid/status" 2>/dev/null || true); sum=$((sum + ${peak:-0}))
  done
  echo $sum
}
# Commands are run as often as TIMES says, and noted as the mean of that: /usr/bin/time knows hundredths only.
# With $dockerd set, samples of names that end in -buildkit count that daemon too.
sample() {
  local name=$1 times=$2; shift 2
  local daemon=; case $name in *-buildkit) daemon=${dockerd:-} ;; esac
  local before=0 after=0 peak=0 began ended; local log=${LOG:-$work/log}
  [ -z "$daemon" ] || { before=$(cpu_of_tree "$daemon"); peak_of_tree "$daemon" reset > /dev/null; }
  if ! /usr/bin/time -f '%e %U %S %M' -o "$work/time" bash -c "$(functions)"'
    times=$1; shift; for ((i = 0; i < times; i++)); do "$@" || exit 1; done' measured "$times" "$@" > "$log" 2>&1; then
    echo "benchmark command failed: $*" >&2; tail -20 "$log" >&2; return 1
  fi
  if [ -n "$daemon" ]; then after=$(cpu_of_tree "$daemon"); peak=$(peak_of_tree "$daemon"); fi
  tail -1 "$work/time" | awk -v n="$times" -v daemon="$(awk -v a="$before" -v b="$after" 'BEGIN { print b - a }')" -v peak="$peak" \
    '{ own = $4 / 1024; printf "%.4f %.4f %d\n", $1 / n, ($2 + $3 + daemon) / n, (peak > own ? peak : own) }' >> "$work/samples-$name"
}
# What the measured shell must know besides the function itself.
functions() { declare -f; declare -p work oxbox base buildah docker 2>/dev/null; }
middle() { sort -k2,2n "$work/samples-$1" | awk '{ line[NR] = $0 } END { print line[int((NR + 1) / 2)] }'; }
# report CASE TITLE CPU WALL: a line with all builders; sets failed=1 if oxbox is beyond a target ("-": none).
report() {
  local a b c; a=$(middle "$1-oxbox"); b=$(middle "$1-buildah"); c=$(middle "$1-buildkit")
  echo "$a $b $c" | awk -v title="$2" -v cpu="$3" -v wall="$4" -v most=96 '{
    must = (cpu == "-" ? "" : "CPU " cpu) (cpu != "-" && wall != "-" ? ", " : "") (wall == "-" ? "" : "wall " wall)
    bad = (cpu != "-" && $2 > cpu) || (wall != "-" && $1 > wall) || $3 > most
    printf "| %s | %.3f | %.3f | %d | %s: %s | %.2f | %.2f | %.1f | %.1f | %.2f | %.2f | %.1f | %.1f | %d |\n", title, $2, $1, $3, must,
      bad ? "**no**" : "yes", $5, $4, $5 / ($2 + 1e-9), $4 / $1, $8, $7, $8 / ($2 + 1e-9), $7 / $1, $9; exit bad }' || failed=1
}
need() { for tool in "$@"; do command -v "$tool" >/dev/null || [ -x "$tool" ] || { echo "missing: $tool (apt-get install time busybox-static buildah skopeo docker-registry docker.io)" >&2; exit 1; }; done; }
