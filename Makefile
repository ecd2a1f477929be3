# The two that matter: `make audit` audits this machine, `make test` runs everything.
# Both set up what they need. PYTHON=/path/to/python3 chooses the Python.
.PHONY: audit test lint types units lock catalogue benchmark clean

export PYTHON
BIN = .venv/bin
LOCALE = audit_agent/locale
LOCK = $(BIN)/uv pip compile -q -U --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate --allow-unsafe

audit:
	@tools/setup.sh run
	@$(BIN)/audit-agent run

test:
	@tools/setup.sh test
	@$(MAKE) --no-print-directory lint types units

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/shellcheck tools/*.sh .ci/run
	$(BIN)/audit-agent collect --script | $(BIN)/shellcheck -s sh -

types:
	$(BIN)/mypy
	$(BIN)/pyright

units:
	$(BIN)/pytest -n auto

# What follows is for maintainers.

lock: # choose the newest versions that pyproject.toml allows, for every platform at once
	$(LOCK) pyproject.toml -o requirements/run.lock
	$(LOCK) -c requirements/run.lock --group dev -o requirements/dev.lock
	echo 'python-iptables>=1.2' | $(LOCK) - -o requirements/iptables.lock
	printf 'pip>=25\nsetuptools>=77\n' | $(LOCK) - -o requirements/pip.lock

catalogue: # the catalogue of checks, and the command line's Chinese: collect sentences, compile
	$(BIN)/audit-agent checks --format md --lang en >docs/checks.md
	$(BIN)/audit-agent checks --format md --lang zh >docs/checks.zh-CN.md
	$(BIN)/pybabel -q extract -k _ -k translate --no-location --omit-header --sort-output \
		-o $(LOCALE)/messages.pot audit_agent/cli \
		"$$($(BIN)/python -c 'import click, os; print(os.path.dirname(click.__file__))')"
	$(BIN)/pybabel -q update -N --ignore-obsolete --ignore-pot-creation-date -w 100 \
		-i $(LOCALE)/messages.pot -d $(LOCALE) -l zh_CN
	$(BIN)/pybabel -q compile -d $(LOCALE)

benchmark:
	@tools/setup.sh test
	$(BIN)/python benchmarks/run.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
