# make demo: train and score the embedded default on a CPU.  make test: the whole test suite.
# make docs: the pages of docs/ as a site, in docs/_build/html.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint docs clean

demo: $(VENV)/.runtime
	$(BIN)/python tools/demo.py --work-dir work_dirs/demo

test: $(VENV)/.tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST_FLAGS)

lint: $(VENV)/.tests
	$(BIN)/ruff check mmocl tools tests configs projects benchmarks setup.py
	$(BIN)/ruff format --check mmocl tools tests configs projects benchmarks setup.py
	$(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python setup.py requirements/runtime.txt
	$(BIN)/python -m pip install -q -e .
	@$(BIN)/python -c 'import cv2' || { \
	    echo 'OpenCV misses system libraries; on Debian or Ubuntu: apt-get install libgl1 libglib2.0-0'; \
	    exit 1; }
	touch $@

$(VENV)/.tests: $(VENV)/.runtime $(wildcard requirements/*.txt)
	$(BIN)/python -m pip install -q -e '.[tests,segmentation,export,docs]'
	touch $@

$(VENV)/.docs: $(VENV)/.runtime requirements/docs.txt requirements/segmentation.txt
	$(BIN)/python -m pip install -q -e '.[docs,segmentation]'
	touch $@

clean:
	rm -rf $(VENV) work_dirs docs/_build
