# Every target makes its own virtual environment and installs what it needs.
PYTHON  ?= $(firstword $(foreach name,python3 python3.12 python3.11,$(shell \
             $(name) -c 'import sys; print(sys.executable if (3, 11) <= sys.version_info < (3, 13) else "")' 2>/dev/null)))
VENV    ?= .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
TEST    := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help run chat test test-live bundle check format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed, for example: make run PYTHON=/usr/bin/python3.12"; exit 1; }
	@echo "setting up $(VENV) ..."
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

run: $(STAMP) ## a real Open WebUI with the pipe in it, in your browser (FULL=1 installs everything Open WebUI asks for)
	$(BIN)/python -m pipe_lab.run

chat: $(STAMP) ## one answer in the terminal: make chat PROMPT="hello" MODEL=openai/gpt-4o
	@$(BIN)/python -m pipe_lab.chat $(if $(MODEL),--model '$(MODEL)') $(if $(PROMPT),'$(PROMPT)')

test: $(STAMP) ## the tests, on the modules and then on the bundle
	$(TEST) --target=modules
	$(TEST) --target=bundle

test-live: $(STAMP) ## the tests against a real Open WebUI server, Chromium, PostgreSQL and Redis (OPEN_WEBUI=0.11.4: the oldest one that works)
	$(TEST) --target=bundle -m "live or browser or host or service"

bundle: $(STAMP) ## write dist/pipe.py
	$(BIN)/python bundle.py

check: $(STAMP) ## ruff, pyright, import-linter, and whether dist/pipe.py is what the source builds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports --cache-dir .import_linter_cache
	$(BIN)/python bundle.py --check

format: $(STAMP) ## let ruff put the source in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## the pipe beside Open WebUI's own connection, same run, same simulator
	$(BIN)/python -m pipe_lab.bench

clean: ## remove environments, caches and the lab's data
	rm -rf $(VENV) .venv-3.12 .lab .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
