"""What the scripts of bench/ share: running a program and measuring it, naming the machine, writing a result."""
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass


@dataclass
class Finished:
    """A program that succeeded: what it wrote, and what it took. Peak memory is that of its own process."""

    out: str
    err: str
    seconds: float
    cpu_seconds: float
    peak_rss_bytes: int
    share_of_other_programs: float  # of the machine's cores, meanwhile

    def usage(self):
        return {"peak_rss_bytes": self.peak_rss_bytes, "share_of_other_programs": round(self.share_of_other_programs, 3)}


def busy_seconds():
    """CPU time that all programs on this machine have used since it started."""
    with open("/proc/stat", encoding="utf-8") as file:
        user, nice, system, _, _, irq, soft = map(int, file.readline().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")


def run(command):
    """Runs a program to its end; ends this one, with what it said, where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begin, busy_before = time.perf_counter(), busy_seconds()
        process = subprocess.Popen(command, stdout=out, stderr=err, text=True)
        _, status, usage = os.wait4(process.pid, 0)
        seconds, busy = time.perf_counter() - begin, busy_seconds() - busy_before
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            sys.exit(f"{os.path.basename(sys.argv[0])}: {shlex.join(command[:4])} ... ended with {process.returncode}: {err.read()[-500:]}")
        cpu = usage.ru_utime + usage.ru_stime
        others = max(0.0, busy - cpu) / (os.cpu_count() * seconds)
        return Finished(out.read(), err.read(), seconds, cpu, usage.ru_maxrss * 1024, others)


def device():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        chip = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())
    return f"{chip}, {os.cpu_count()} cores"


def write_result(path, result):
    """A result file, with the command and the machine in front; nothing where no file is wanted."""
    if not path:
        return
    complete = {"command": shlex.join(["python"] + sys.argv), "device": device(), **result}
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(complete, indent=1) + "\n")


def measured_steps(run_directory):
    """The steps of a run's metrics.jsonl, without its evaluations."""
    with open(os.path.join(run_directory, "metrics.jsonl"), encoding="utf-8") as file:
        return [row for row in map(json.loads, file) if "tokens_per_s" in row]
