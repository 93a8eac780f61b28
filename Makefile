# SPDX-License-Identifier: Apache-2.0
# Products and tests share one configuration and one folder, so that nothing is built twice.

SHELL := /bin/bash
SWIFT ?= swift
FLAGS := -c release --static-swift-stdlib
BIN := .build/release
PREFIX ?= /usr/local
BENCH_ARGS ?=
# Extra arguments for the tests, as in: make test TEST_ARGS="--filter Storage"
TEST_ARGS ?=

.PHONY: all build packages lab test bench format lint clean install

all: build

packages:
	@scripts/install-packages

build: packages
	$(SWIFT) build $(FLAGS) --build-tests

# The whole lab page, end to end, on a cluster that is made for it and removed.
lab: build
	CATBIRD="$(CURDIR)/$(BIN)/catbird" scripts/lab

# As root all of them; without root those that need the kernel say that they were skipped.
test: build
	CATBIRD_BIN="$(CURDIR)/$(BIN)" $(SWIFT) test $(FLAGS) --skip-build $(TEST_ARGS)

bench: build
	CATBIRD="$(CURDIR)/$(BIN)/catbird" scripts/bench $(BENCH_ARGS)

format:
	$(SWIFT) format --in-place --parallel --recursive Sources Tests Package.swift

lint:
	$(SWIFT) format lint --strict --parallel --recursive Sources Tests Package.swift

clean:
	$(SWIFT) package clean

install: build
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 0755 $(BIN)/catbird $(BIN)/catbird-cni "$(DESTDIR)$(PREFIX)/bin/"
	ln -sf catbird "$(DESTDIR)$(PREFIX)/bin/calicoctl"
