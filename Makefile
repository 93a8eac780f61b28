# SPDX-License-Identifier: Apache-2.0
# `make lab` and `make test` do everything; the rest is for daily work.

RELEASE := swift build -c release --static-swift-stdlib
BIN := .build/release

.PHONY: lab docs outside clients kubectl test build-tests fuzz build bench kills store-kills attack soak format lint check-plugin clean install packages

packages:
	scripts/install-packages

# Only what is started: without the names also helpers of tests and fuzzers would be compiled.
build: packages
	CATBIRD_ONLY=catbird,catbird-cni $(RELEASE)

lab: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/lab

# Types every command of README.md and docs/.
docs: build
	scripts/install-packages --tests
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/docs

build-tests: packages
	swift build --build-tests

test:
	scripts/install-packages --tests
	scripts/test

# Types the commands of docs/outside.md: podman and containerd with Catbird's CNI plugin, without a cluster.
outside: build
	scripts/install-packages --tests
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/outside

# Clients that others wrote: Kubernetes' Python client and an operator of kopf's, against a cluster.
clients: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/clients

# Every kubectl subcommand, with the oldest and the newest kubectl to be had, against a cluster.
kubectl: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/kubectl-table

# Each parser of bytes from outside for FUZZ_SECONDS (10), with libFuzzer.
fuzz: packages
	scripts/fuzz
	scripts/fuzz services

# 100,000 random steps over the addresses of a simulated cluster, of each of three kinds; CATBIRD_SEED replays one.
# Then processes over one folder of files that are killed 200 times.
soak: packages
	CATBIRD_STEPS=100000 swift test --disable-xctest --filter '^IPAMTests\.(SoakTests|KilledProcessTests)'

# A cluster, what a node costs, then addresses, plugin, routes and steps by catbird-bench, which no other build has.
bench: build
	CATBIRD_BENCH=1 $(RELEASE) --product catbird-bench
	CATBIRD=$(CURDIR)/$(BIN)/catbird Benchmarks/run
	CATBIRD=$(CURDIR)/$(BIN)/catbird Benchmarks/nodes
	scripts/install-packages --bench
	CATBIRD=$(CURDIR)/$(BIN)/catbird Benchmarks/API/run
	$(BIN)/catbird-bench

# KILLS (1000) SIGKILLs of the control plane under a load of writes, and whether anything was lost.
store-kills: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/store-kills $(or $(KILLS),1000)

# SIGKILLs of everything for SECONDS (60; by hand 900) under a churn of objects and pods, and whether anything was lost,
# doubled, broken or left.
attack: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/attack $(or $(SECONDS),60)

kills: build
	CATBIRD=$(CURDIR)/$(BIN)/catbird scripts/kills

format:
	swift format --in-place --recursive Sources Tests Fuzz Benchmarks Package.swift

# The formatter, then the rules of the house, each shown to be missed when it is broken.
lint:
	swift format lint --strict --recursive Sources Tests Fuzz Benchmarks Package.swift
	scripts/check-decider
	scripts/check-rooms
	@scripts/tests/rules 2>&1 | tail -n 3 | grep -qx OK || scripts/tests/rules
	scripts/check

# What the plugin links, of the release build.
check-plugin:
	scripts/check-plugin $(BIN)/catbird-cni

install: build
	install -d $(DESTDIR)/usr/local/bin
	install -m 0755 $(BIN)/catbird $(BIN)/catbird-cni $(DESTDIR)/usr/local/bin/
	ln -sf catbird $(DESTDIR)/usr/local/bin/calicoctl
	ln -sf catbird $(DESTDIR)/usr/local/bin/kubectl-calico
	ln -sf catbird $(DESTDIR)/usr/local/bin/kubectl-catbird

clean:
	rm -rf .build
