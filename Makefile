# make demo    the main job end to end: build, push, serve, pull and run, on real input
# make test    everything that CI runs: format, lints, docs, all tests, short fuzzing
#
# Both do their own set-up on a bare Debian: missing packages come by apt when you are root.
SHELL := /bin/bash
BINARY := target/$(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')/release/oxbox

.PHONY: all demo test binary setup
all: binary

setup:
	@scripts/setup

binary: setup
	cargo build --release --package oxbox
	@ln -sf $(BINARY) oxbox 2>/dev/null || true
	@echo "built $(BINARY)"

demo: binary
	@scripts/demo $(BINARY)

test:
	@scripts/setup test
	@scripts/test
