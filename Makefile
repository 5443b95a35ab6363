# Two commands: `make quickstart` trains Medusa heads on a small real model, `make test` checks everything.
# Both install what is missing (and say so), and do again only what is not done yet.
BUILD ?= build
GORGON := $(BUILD)/trainer/gorgon
GENERATOR := $(BUILD)/data/generator/text_to_sql_generator
DATA := runs/quickstart-data

.PHONY: quickstart test build install install-test model data format

quickstart: install build model data
	$(GORGON) train configs/quickstart.yaml

test: install-test model
	cmake -S . -B $(BUILD) -G Ninja
	cmake --build $(BUILD)
	ctest --test-dir $(BUILD) --output-on-failure -j $$(nproc)

build: install
	cmake -S . -B $(BUILD) -G Ninja
	cmake --build $(BUILD) --target gorgon text_to_sql_generator

install:
	scripts/install.sh

install-test:
	scripts/install.sh test

model:
	scripts/fetch_model.sh

# Written again each time, always to the same bytes.
data: build
	mkdir -p $(DATA)
	$(GENERATOR) --rows 2000 --split train --output $(DATA)/train.jsonl
	$(GENERATOR) --rows 200 --split eval --output $(DATA)/eval.jsonl

format:
	clang-format-14 -i $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
