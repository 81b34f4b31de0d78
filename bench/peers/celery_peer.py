"""Celery with its defaults. One job as JSON in argv[1]; modes `work`, `publish`, `call` and `pattern` (one message as an example)."""

import json
import sys
import time

from celery import Celery

job = json.loads(sys.argv[1])

app = Celery("bench", broker=job["broker"], backend=job["backend"])
app.conf.update(task_default_queue=job["queue"], broker_connection_retry_on_startup=True)
if job.get("confirm"):
    app.conf.broker_transport_options = {"confirm_publish": True}


@app.task(name=job["task"])
def add(x, y):
    return x + y


def say(message):
    print(json.dumps(message), flush=True)


def work():
    options = ["--loglevel=WARNING", "--without-mingle", "--without-gossip", f"--concurrency={job['concurrency']}"]
    app.worker_main(["worker", f"--queues={job['queue']}", *options])


def publish():
    add.apply_async(job["args"])
    say({"ready": True})
    sys.stdin.readline()
    say({"started": time.time() * 1000})
    for _ in range(job["count"]):
        add.apply_async(job["args"])
    say({"confirmed": time.time() * 1000})


def call():
    samples = []
    for at in range(-job["warmUp"], job["count"]):
        start = time.perf_counter()
        value = add.apply_async(job["args"]).get(timeout=60)
        took = (time.perf_counter() - start) * 1000
        if value != job["expected"]:
            raise SystemExit(f"expected {job['expected']} and got {value}")
        if at >= 0:
            samples.append(took)
        elif at == -1:
            say({"ready": True})
    say({"samples": samples})


def pattern():
    add.apply_async(job["args"])


{"work": work, "publish": publish, "call": call, "pattern": pattern}[job["mode"]]()
