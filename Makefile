# Two commands: `make quickstart` trains Medusa heads on a small real model, `make test` checks everything.
# Both install what is missing (and say so), and do again only what is not done yet.
BUILD ?= build
GORGON := $(BUILD)/trainer/gorgon
GENERATOR := $(BUILD)/data/generator/chat_generator
DATA := runs/quickstart-data
RUN := runs/quickstart

.PHONY: quickstart test build install install-test model data answers format

# The model answers prompts itself, heads learn from the answers, and other prompts tell what they gain: calibration's while they
# are trained (they may choose a checkpoint), test's at the end alone.
quickstart: install build model data answers
	$(GORGON) train configs/quickstart.yaml
	@if [ $(RUN)/eval.json -nt $(RUN)/medusa_heads.safetensors ] && [ -s $(DATA)/eval-f32.json ]; then \
	  echo "already measured: $(RUN)/eval.json"; \
	else \
	  $(GORGON) eval $(RUN) --data $(DATA)/test.jsonl --limit 3 --dtype f32 --batches 1 --output $(DATA)/eval-f32.json && \
	  $(GORGON) eval $(RUN) --data $(DATA)/test.jsonl --limit 8; \
	fi
	@python3 scripts/quickstart_summary.py $(RUN)/eval.json $(DATA)/eval-f32.json
	@echo "report: $(RUN)/report.html"

test: install-test model
	cmake -S . -B $(BUILD) -G Ninja -DGORGON_TESTS=ON
	cmake --build $(BUILD)
	ctest --test-dir $(BUILD) --output-on-failure -j $$(nproc)

# The program and the generator of the quickstart's data; the tests, and what they need, come with `make test`.
build: install
	test -e $(BUILD)/CMakeCache.txt || cmake -S . -B $(BUILD) -G Ninja -DGORGON_TESTS=OFF
	cmake --build $(BUILD) --target gorgon chat_generator

install:
	scripts/install.sh

install-test:
	scripts/install.sh test

model:
	scripts/fetch_model.sh

# Written again each time, always to the same bytes.
data: build
	mkdir -p $(DATA)
	$(GENERATOR) --task json --rows 200 --split train --output $(DATA)/prompts.jsonl
	$(GENERATOR) --task json --rows 24 --split calibration --output $(DATA)/calibration-prompts.jsonl
	$(GENERATOR) --task json --rows 16 --split test --output $(DATA)/test-prompts.jsonl

# Once; a stopped one goes on.
answers: data model
	$(GORGON) distill configs/quickstart.yaml --set train_dataset_path=$(DATA)/prompts.jsonl \
	  --max-new-tokens 96 --output $(DATA)/train.jsonl
	$(GORGON) distill configs/quickstart.yaml --set train_dataset_path=$(DATA)/calibration-prompts.jsonl \
	  --max-new-tokens 96 --output $(DATA)/calibration.jsonl
	$(GORGON) distill configs/quickstart.yaml --set train_dataset_path=$(DATA)/test-prompts.jsonl \
	  --max-new-tokens 96 --output $(DATA)/test.jsonl

format:
	clang-format-14 -i $$(git ls-files '*.cpp' '*.h' '*.cu' '*.cuh')
