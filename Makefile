# The two commands a fresh machine needs: `make demo` and `make test`. Each makes its own .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test install lint clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "lora3d needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade -c constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/lora3d demo

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy lora3d data_prep

# Extras make every import slower: the tests that want them have an environment of their own, on top of the first.
EXTRAS := .venv/extras

$(EXTRAS)/installed: .venv/installed
	$(PYTHON) -m venv $(EXTRAS)
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> $$($(EXTRAS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/whole.pth
	$(EXTRAS)/bin/pip install --quiet -c constraints.txt -e '.[8bit,matting,meshopt,ray,tensorboard,wandb]' onnx
	touch $@

# Two files at a time, a thread each (tests/conftest.py).
test: lint $(EXTRAS)/installed
	$(BIN)/pytest -n 2 -m 'not extra'
	$(EXTRAS)/bin/python -m pytest -n 2 -m extra

clean:
	rm -rf .venv build *.egg-info
