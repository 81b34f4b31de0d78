"""Celery's canvas with its defaults. One job as JSON in argv[1]: `mode` `work`, or `client`, which says milliseconds per workload."""

import json
import sys
import time

from celery import Celery, chord, group

job = json.loads(sys.argv[1])
app = Celery("bench", broker=job["broker"], backend=job["backend"])
app.conf.update(task_default_queue=job["queue"], broker_connection_retry_on_startup=True)


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.total")
def total(numbers):
    return sum(numbers)


def say(message):
    print(json.dumps(message), flush=True)


def measure_chord(size):
    start = time.perf_counter()
    value = chord([add.s(1, 1) for _ in range(size)], total.s()).apply_async().get(timeout=3600, interval=0.01)
    assert value == 2 * size, value
    return (time.perf_counter() - start) * 1000


def measure_group(size):
    start = time.perf_counter()
    group([add.s(1, 1) for _ in range(size)]).apply_async(queue=job["queue"] + "-unread")
    return (time.perf_counter() - start) * 1000


if job["mode"] == "work":
    options = ["--loglevel=WARNING", "--without-mingle", "--without-gossip", f"--concurrency={job['concurrency']}"]
    app.worker_main(["worker", f"--queues={job['queue']}", *options])
else:
    measure_chord(10)
    measure_group(10)
    say({"ready": True})
    for workload, size in job["workloads"]:
        say({"workload": workload, "size": size, "ms": {"chord": measure_chord, "group": measure_group}[workload](size)})
