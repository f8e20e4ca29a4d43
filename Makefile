# Every target is a verb of build/setup_perslm.py, which works without make too. `make` alone lists them.
PYTHON ?= python3
export DESTDIR PROFILE BOARD FLAVOUR ARCH RELEASE REPLAY IMAGE DEVICE CONFIG FORCE YES
HOUSE := @$(PYTHON) build/setup_perslm.py
ARGS ?=
MINUTES ?= 10

.DEFAULT_GOAL := help
.PHONY: help run test long check format stress soak bench models setup train-setup lock check-lock install uninstall image deb release flash flash-config flash-test image-full clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

run: ## set up what is missing, answer one question by voice, then run the daemon
	$(HOUSE) run

test: ## set up what is missing and run the tests (ARGS="-k name" goes to pytest)
	$(HOUSE) test $(ARGS)

long: ## the tests that take long: whole daemons, kills and rounds; CI runs them after `make test`
	$(HOUSE) long

check: ## formatting, lint, types, layers
	$(HOUSE) check

format: ## format the code and mend what the linter can
	$(HOUSE) format

stress: ## the tests that repeat, 100 rounds (a memory is killed 1,000 times); report in benchmarks/results/stress.json
	$(HOUSE) stress $(ARGS)

soak: ## a daemon through all that goes wrong, MINUTES=10; report in benchmarks/results/soak.json
	$(HOUSE) soak $(MINUTES)

bench: ## measure against the raw engines (ARGS="NAME --json" for one)
	$(HOUSE) bench $(ARGS)

models: ## pull the small models and list all
	$(HOUSE) models

setup: ## set up what `make run` needs and stop there
	$(HOUSE) setup

train-setup: ## set up the training host with torch in .venv-train (CUDA=1 allows CUDA without a GPU)
	$(HOUSE) train-setup

lock: ## write the hashed locks anew from pyproject.toml (ARGS=--upgrade for newer versions)
	$(HOUSE) lock $(ARGS)

check-lock: ## resolve the board's lock for arm64 on Python 3.11 and 3.13, installing nothing
	$(HOUSE) check-lock

install: ## as a systemd service, by root (PROFILE=pi5 DESTDIR=folder PYTHON=/usr/bin/python3)
	$(HOUSE) install

uninstall: ## remove the service; configuration, models and memories stay
	$(HOUSE) uninstall

image: ## build an SD-card image into dist/ (BOARD=pi4 PROFILE=... FLAVOUR=... or REPLAY=dist/NAME.packages; docs/image.md)
	$(HOUSE) image

deb: ## a Debian package into dist/, for a board that runs Debian 13 already (ARCH=arm64)
	$(HOUSE) deb

release: ## a release for cards that are out already, into dist/, to be signed by the training host (ARCH=arm64)
	$(HOUSE) release

flash: ## write the newest image onto DEVICE=/dev/sdX or a file, with the settings of CONFIG=my-home.toml
	$(HOUSE) flash

flash-config: ## ask what a card's board should know, and write CONFIG=my-home.toml
	$(HOUSE) flash-config

flash-test: ## flash the newest image to a file, boot it in QEMU and try it (ARGS=--without-voice: faster)
	$(HOUSE) flash-test $(ARGS)

image-full: ## build an image from nothing, twice, compare, boot it; report in benchmarks/results/image-full.json
	$(HOUSE) image-full $(ARGS)

clean: ## remove environments and tool caches; models, memories and built wheels stay
	$(HOUSE) clean
