"""The Python half of the demo: a Celery app as any other. Its broker and result backend come from a JSON file of settings."""

import json
import os

from celery import Celery

with open(os.environ["DEMO_SETTINGS"], encoding="utf-8") as file:
    settings = json.load(file)

app = Celery("demo")
app.conf.update(settings)


@app.task(name="demo.py.mean")
def mean(numbers):
    return sum(numbers) / len(numbers)


@app.task(name="demo.py.divide")
def divide(a, b):
    return a / b


@app.task(name="demo.py.add_one")
def add_one(n):
    return n + 1
