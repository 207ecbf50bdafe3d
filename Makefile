# The few verbs that developers use. `make help` lists them.
PYTHON ?= python
SANITIZE ?= address undefined thread
.PHONY: help build test slow sanitize lint format

help:   ## this list
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/  /'
build:  ## compile the C++ core in place (only what changed)
	$(PYTHON) setup.py build_ext --inplace
test:   ## the tests that CI runs
	pytest
slow:   ## the tests that take minutes
	pytest -m slow --timeout 3600
sanitize: ## kernel and engine tests with sanitizers; SANITIZE=address for one of them
	set -e; for kind in $(SANITIZE); do PYTHON=$(PYTHON) scripts/sanitize.sh $$kind; done
lint:   ## what CI checks
	ruff check . && ruff format --check .
	git ls-files 'csrc/*.cc' 'csrc/*.h' 'csrc/*.inl' | xargs clang-format --dry-run --Werror
format: ## mend what lint finds
	ruff check --fix . && ruff format .
	git ls-files 'csrc/*.cc' 'csrc/*.h' 'csrc/*.inl' | xargs clang-format -i
