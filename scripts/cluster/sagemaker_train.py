#!/usr/bin/env python3
"""Entry of a container that Amazon SageMaker starts with `train`: its files and variables become a run of gorgon.

  input/config/hyperparameters.json   keys of the configuration as KEY: VALUE; "config" names a YAML file to start from
  input/data/CHANNEL/                 model (a directory, or one .gguf file in it), train or train_dataset, eval or test_dataset
  checkpoints/, else output/data/run  the run: SageMaker keeps checkpoints/ when it interrupts the job, and training goes on there
  model/                              medusa_lm_head.safetensors, config.json, base-model/: what a Medusa server loads
  output/failure                      the error, when there is one

Host names come from SM_HOSTS and SM_CURRENT_HOST, else from input/config/resourceconfig.json; every host starts one rank per GPU
(SM_NUM_GPUS, else as many as /dev/nvidia0, /dev/nvidia1 ... there are; one without any), and all train together. SM_CHANNEL_NAME and SM_MODEL_DIR come before the folders above.

usage: sagemaker_train.py [--prefix /opt/ml] [--gorgon gorgon] [train]
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

PORT = 29500


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["train"], help="as SageMaker calls it")
    parser.add_argument("--prefix", type=Path, default=Path("/opt/ml"))
    parser.add_argument("--gorgon", default="gorgon", help="the program")
    return parser.parse_args()


def read_json(path, otherwise):
    return json.loads(path.read_text()) if path.exists() else otherwise


def channel(prefix, *names):
    """The folder of the first channel that is there, or None."""
    for name in names:
        for folder in (os.environ.get("SM_CHANNEL_" + name.upper()), prefix / "input/data" / name):
            if folder and Path(folder).is_dir():
                return Path(folder)
    return None


def model_in(folder):
    files = sorted(folder.glob("*.gguf"))
    return files[0] if files else folder


def overrides(prefix, run, parameters):
    """key=value for --set: the hyperparameters, and for keys they leave out what the channels hold."""
    values = {"output_dir": str(run)}
    model = channel(prefix, "model")
    train = channel(prefix, "train", "training", "train_dataset")
    evaluation = channel(prefix, "eval", "validation", "test", "test_dataset", "eval_dataset")
    if model:
        values["model_path"] = str(model_in(model))
    if train:
        values["train_dataset_path"] = str(train / "*.jsonl")
    if evaluation:
        values["eval_dataset_path"] = str(evaluation / "*.jsonl")
    # SageMaker's own ("sagemaker_program") are not ours; every value may come as a JSON text.
    for key, value in parameters.items():
        if key == "config" or key.startswith("sagemaker_"):
            continue
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
            value = json.loads(value)
        values[key] = value if isinstance(value, str) else json.dumps(value)
    return values


def config_file(prefix, parameters):
    if "config" in parameters:
        return str(parameters["config"]).strip('"')
    folder = channel(prefix, "config")
    files = sorted(folder.glob("*.y*ml")) if folder else []
    if files:
        return str(files[0])
    empty = prefix / "input/gorgon.yaml"
    empty.write_text("{}\n")
    return str(empty)


def count_gpus(devices=Path("/dev")):
    """SageMaker's training toolkit sets SM_NUM_GPUS; a container without it has the devices alone."""
    named = os.environ.get("SM_NUM_GPUS")
    return int(named) if named else len(list(devices.glob("nvidia[0-9]*")))


def ranks_of_host(prefix):
    """(hosts, the number of this one, ranks on each)."""
    resources = read_json(prefix / "input/config/resourceconfig.json", {})
    hosts = json.loads(os.environ.get("SM_HOSTS", "null")) or resources.get("hosts") or ["localhost"]
    here = os.environ.get("SM_CURRENT_HOST") or resources.get("current_host") or hosts[0]
    hosts = sorted(hosts)
    return hosts, hosts.index(here), max(1, count_gpus())


class Ranks:
    """The processes of this host, started as torchrun would; the last error line of any of them."""

    def __init__(self, words, hosts, host, count):
        self.error = ""
        self.processes, self.readers = [], []
        for local in range(count):
            variables = dict(os.environ)
            if len(hosts) * count > 1:
                variables |= {"RANK": str(host * count + local), "LOCAL_RANK": str(local),
                              "WORLD_SIZE": str(len(hosts) * count), "MASTER_ADDR": hosts[0], "MASTER_PORT": str(PORT),
                              "GORGON_JOB": os.environ.get("TRAINING_JOB_NAME", "SageMaker")}
            process = subprocess.Popen(words, env=variables, stderr=subprocess.PIPE, text=True, errors="replace")
            reader = threading.Thread(target=self.read, args=(process,))
            reader.start()
            self.processes.append(process)
            self.readers.append(reader)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.pass_on)

    def read(self, process):
        for line in process.stderr:
            sys.stderr.write(line)
            sys.stderr.flush()
            if line.startswith("error: "):
                self.error = line[len("error: "):].strip()

    def pass_on(self, number, _):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(number)

    def wait(self):
        statuses = [process.wait() for process in self.processes]
        for reader in self.readers:
            reader.join()
        return next((status if status > 0 else 7 for status in statuses if status != 0), 0)


def model_of(run):
    """As the run itself says it."""
    for line in (run / "config.yaml").read_text().splitlines():
        if line.startswith("model_path:"):
            return Path(line.split(":", 1)[1].strip().strip("'\""))
    raise SystemExit(f"{run}/config.yaml has no model_path")


def hand_over(gorgon, prefix, run):
    """Heads and the model that they belong to, where SageMaker packs model.tar.gz."""
    target = Path(os.environ.get("SM_MODEL_DIR", prefix / "model"))
    shutil.rmtree(target / "base-model", ignore_errors=True)
    # export wants a folder of its own: what it wrote moves up, behind the check it has made.
    exported = target / ".export"
    shutil.rmtree(exported, ignore_errors=True)
    status = subprocess.run([gorgon, "export", str(run), "--to", "hf", "--output", str(exported)]).returncode
    if status != 0:
        return status
    for path in exported.iterdir():
        os.replace(path, target / path.name)
    exported.rmdir()
    model = model_of(run)
    if model.is_dir():
        shutil.copytree(model, target / "base-model")
    else:
        (target / "base-model").mkdir()
        shutil.copy(model, target / "base-model")
    return 0


def main():
    arguments = parse_arguments()
    prefix = arguments.prefix
    parameters = read_json(prefix / "input/config/hyperparameters.json", {})
    kept = prefix / "checkpoints"
    run = kept / "run" if kept.is_dir() else prefix / "output/data/run"
    values = overrides(prefix, run, parameters)
    hosts, host, count = ranks_of_host(prefix)
    words = [arguments.gorgon, "train", config_file(prefix, parameters)]
    for key, value in values.items():
        words += ["--set", f"{key}={value}"]
    print(" ".join(words), flush=True)
    ranks = Ranks(words, hosts, host, count)
    status = ranks.wait()
    if status == 0 and host == 0:
        status = hand_over(arguments.gorgon, prefix, run)
    if status != 0:
        (prefix / "output").mkdir(exist_ok=True)
        (prefix / "output/failure").write_text(ranks.error or f"gorgon ended with status {status}")
    return status


if __name__ == "__main__":
    sys.exit(main())
