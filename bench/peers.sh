# Sourced by bench/build: the builders that are compared, each with a store of its own beneath $work, and
# what each of them does. A builder is three functions: NAME_cold (forget all but the base), NAME_build
# CONTEXT DOCKERFILE [FLAG...], NAME_export CONTEXT DOCKERFILE FOLDER.
base=localhost/base:1

# The base of all: a shell and what a Dockerfile's RUN needs, from busybox.
make_base() {
  mkdir -p "$work/base/root/bin"
  cp "$(command -v busybox)" "$work/base/root/bin/busybox"
  for name in sh sleep true find wc; do ln -s busybox "$work/base/root/bin/$name"; done
  tar -C "$work/base/root" --numeric-owner --owner=0 --group=0 -cf "$work/base/base.tar" .
  rm -r "$work/base/root"
  printf 'FROM scratch\nADD base.tar /\nENV PATH=/bin\n' > "$work/base/Dockerfile"
}

oxbox_cold() {
  export OXBOX_ROOT=$work/oxbox
  rm -rf "$OXBOX_ROOT"; "$oxbox" build --quiet --tag "$base" "$work/base" > /dev/null
}
oxbox_build() { "$oxbox" build --quiet --tag bench:1 --file "$2" "${@:3}" "$1"; }
oxbox_export() { oxbox_build "$1" "$2" && "$oxbox" copy --quiet bench:1 "oci:$3:1"; }

# Debian's own driver as root is overlay; vfs would copy the whole image at each step.
buildah=(buildah --root "$work/buildah" --runroot "$work/buildah-run" --storage-driver overlay)
buildah_cold() {
  "${buildah[@]}" rmi --all --force > /dev/null 2>&1 || true
  "${buildah[@]}" build --quiet --tag "$base" "$work/base" > /dev/null 2>&1
}
buildah_build() {
  "${buildah[@]}" build --quiet --layers --isolation chroot --tag bench:1 --file "$2" "${@:3}" "$1"
}
buildah_export() { buildah_build "$1" "$2" && "${buildah[@]}" push --quiet bench:1 "oci:$3:1"; }

# BuildKit as Debian ships it: within dockerd, which is started here and whose CPU counts.
docker=("${DOCKER:-/usr/bin/docker}" -H "unix://$work/docker.sock")
start_dockerd() {
  dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$work/docker" --exec-root "$work/docker-run" \
    -p "$work/docker.pid" -H "unix://$work/docker.sock" > "$work/dockerd.log" 2>&1 & dockerd=$!
  for _ in $(seq 100); do "${docker[@]}" version > /dev/null 2>&1 && return; sleep 0.1; done
  echo "dockerd does not start:" >&2; tail -5 "$work/dockerd.log" >&2; return 1
}
buildkit_cold() {
  "${docker[@]}" rmi --force bench:1 > /dev/null 2>&1 || true
  "${docker[@]}" builder prune --all --force > /dev/null
  "${docker[@]}" image inspect "$base" > /dev/null 2>&1 ||
    "${docker[@]}" import --change 'ENV PATH=/bin' "$work/base/base.tar" "$base" > /dev/null
}
buildkit_build() {
  DOCKER_BUILDKIT=1 "${docker[@]}" build --quiet --network none --tag bench:1 --file "$2" "${@:3}" "$1"
}
# This version has no exporter of its own: skopeo fetches the image from the daemon and compresses it.
buildkit_export() {
  buildkit_build "$1" "$2" &&
    skopeo --insecure-policy copy --quiet --src-daemon-host "unix://$work/docker.sock" docker-daemon:bench:1 "oci:$3:1"
}
