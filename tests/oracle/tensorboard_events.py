"""Writes tests/golden/tensorboard/events.bin with TensorBoard's own protocol buffers and record writer, and checks an
event file of a gorgon run with TensorBoard's own reader.
Made with tensorboard 2.21.0, Python 3.11.

usage: tensorboard_events.py write FILE | check EVENTFILE METRICS.JSONL
"""
import json
import sys

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def scalars(wall_time, step, values):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return Event(wall_time=wall_time, step=step, summary=summary)


def write(path):
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in (
            Event(wall_time=1700000000.25, file_version="brain.Event:2"),
            scalars(1700000001.5, 3, [("train/loss", 1.25), ("train/head_1_top1", -0.5)]),
            scalars(1700000002.0, 300, [("eval/loss", 0.0)]),
        ):
            writer.write(event.SerializeToString())
        writer.flush()


def check(events, metrics):
    losses = {}
    for line in open(metrics):
        record = json.loads(line)
        if "loss" in record:
            losses[record["step"]] = record["loss"]
    seen = []
    for raw in RawEventFileLoader(events).Load():
        event = Event.FromString(raw)
        for value in event.summary.value:
            if value.tag == "train/loss":
                seen.append(event.step)
                assert abs(value.simple_value - losses[event.step]) < 1e-6 * max(1, abs(losses[event.step]))
    assert seen and len(seen) == len(set(seen)), seen
    print(f"{len(seen)} points of train/loss, each step once, equal to {metrics}")


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    check(sys.argv[2], sys.argv[3])
