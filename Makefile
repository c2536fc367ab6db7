# Every target is one command of `python3 -m local`, or one run of pytest in its environment.
# make only says pass or fail; `python3 -m local --help` has exit codes and --json.
.DEFAULT_GOAL := help
.PHONY: help up down status preview outputs hosts secrets check test test-all test-unit loadtest loadtest-all lint \
	lock lock-debian docs \
	images-push

LOCAL := python3 -m local

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## bring everything up, or up to date
	@$(LOCAL) up

down: ## take everything away again
	@$(LOCAL) down

status: ## what runs, from where, and whether it is healthy (fails unless all is)
	@$(LOCAL) status

preview: ## what `up` would change (EXPECT_NO_CHANGES=1: fail where there is a change)
	@$(LOCAL) preview $(if $(EXPECT_NO_CHANGES),--expect-no-changes)

outputs: ## the stack's outputs as JSON on stdout (SECRETS=1: secret ones too)
	@$(LOCAL) outputs $(if $(SECRETS),--secrets)

hosts: ## lead the stack's names to it on this machine, by a line in /etc/hosts (`make down` removes it)
	@$(LOCAL) hosts

secrets: ## create missing secrets and renew certificates: STACK=staging (ROTATE=name: replace one)
	@$(LOCAL) secrets --stack "$(or $(STACK),local)" $(if $(ROTATE),--rotate "$(ROTATE)")

check: ## whether this machine has what `up` needs
	@$(LOCAL) check

lint: ## ruff and mypy (strict)
	@$(LOCAL) run -- ruff check .
	@$(LOCAL) run -- ruff format --check .
	@$(LOCAL) run -- mypy .

test-unit: ## what needs no stack
	@$(LOCAL) run -- python -m pytest tests/unit

test: ## lint and all tests but the long ones, on the running stack or on one that it starts (JUNIT=file.xml)
	@$(LOCAL) prepare-tests
	@$(LOCAL) run -- python -m tests.support.suite $(if $(JUNIT),--junit "$(JUNIT)")

test-all: ## the same, with the long tests
	@$(LOCAL) prepare-tests
	@$(LOCAL) run -- python -m tests.support.suite --all $(if $(JUNIT),--junit "$(JUNIT)")

loadtest: ## one load run: SCENARIO=livestream PROFILE=4g (OUT= BASELINE= SEED= SET="viewers.count=8" IN_CLUSTER=pods IMAGE=)
	@$(LOCAL) prepare-loadtest
	@$(LOCAL) run -- python -m loadtest run "$(or $(SCENARIO),livestream)" $(if $(PROFILE),--profile "$(PROFILE)") \
		$(foreach change,$(SET),--set "$(change)") $(if $(SEED),--seed "$(SEED)") $(if $(OUT),--out "$(OUT)") \
		$(if $(BASELINE),--baseline "$(BASELINE)") $(if $(IN_CLUSTER),--in-cluster "$(IN_CLUSTER)") $(if $(IMAGE),--image "$(IMAGE)") \
		$(if $(PLAIN),--plain)

loadtest-all: ## every scenario on its profiles (OUT=)
	@$(LOCAL) prepare-loadtest
	@$(LOCAL) run -- python -m loadtest run-all $(if $(OUT),--out "$(OUT)") $(if $(PLAIN),--plain)

docs: ## write docs/configuration.md and the load test's report schema anew, from their classes
	@$(LOCAL) run -- env PYTHONPATH=infra python -m livekit_platform.config_docs
	@$(LOCAL) run -- python -m loadtest.report.schema

# ALL=1: every image that the program deploys, for networks that reach no other registry.
images-push: ## build and publish our images: REGISTRY=registry.example.com/livekit-platform (ALL=1: all)
	@$(LOCAL) images-push "$(REGISTRY)" $(if $(ALL),--all)

lock: ## compile the requirements.in files anew
	@$(LOCAL) run -- uv pip compile $(LOCK_FLAGS) --universal requirements.in -o requirements.txt
	@for part in services/token-api services/object-store-setup services/turn-exporter services/recorder loadtest; do \
		$(LOCAL) run -- uv pip compile $(LOCK_FLAGS) $(IMAGE_LOCK_FLAGS) $$part/requirements.in \
			-o $$part/requirements.txt || exit; \
	done

lock-debian: ## record the Debian packages that the tests passed with, in local/images/debian.lock
	@$(LOCAL) lock-debian

# No index is recorded: pip takes the one that the machine is configured for.
LOCK_FLAGS := --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
# For the interpreter of our images alone. pip would judge a condition by the interpreter that builds the image.
IMAGE_LOCK_FLAGS := --python-platform x86_64-manylinux_2_28 -c requirements.txt
