"""The Python client of the demo. Prints one JSON line for each call; scripts/demo.mjs makes a table of them."""

import json
import time

from celery import chain, signature

from tasks import add_one, app


def report(to, call, send):
    start = time.perf_counter()
    try:
        # On files, Celery looks again every half second unless it is told otherwise.
        outcome = {"result": json.dumps(send().get(timeout=20, interval=0.02))}
    except Exception as error:
        outcome = {"error": f"{type(error).__name__}: {error}"}
    ms = round((time.perf_counter() - start) * 1000, 1)
    print(json.dumps({"from": "Python", "to": to, "call": call, "ms": ms, **outcome}), flush=True)


report("TypeScript", 'greet("Ada")', lambda: app.send_task("demo.ts.greet", ["Ada"]))
report("TypeScript", "flaky(2), which retries", lambda: app.send_task("demo.ts.flaky", kwargs={"failures": 2}))
report(
    "Python > TypeScript > Python",
    "add_one(1) | square | add_one",
    lambda: chain(add_one.s(1), signature("demo.ts.square", app=app), add_one.s()).apply_async(),
)
