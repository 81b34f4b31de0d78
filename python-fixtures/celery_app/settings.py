"""Builds a Celery app from data alone, so that one program serves every case of the interop grid.

Settings are Celery's own lower-case names as a JSON object, read in this order, later ones winning:

- the file named by FIXTURE_SETTINGS,
- the text of FIXTURE_SETTINGS_JSON,
- Celery's own CELERY_BROKER_URL and CELERY_RESULT_BACKEND.

`task_queues` may be a list of names or of objects with the keyword arguments of `kombu.Queue`; an `exchange` in them may be an
object with the keyword arguments of `kombu.Exchange`.
"""

import json
import os

from celery import Celery
from kombu import Exchange, Queue


def read_settings():
    settings = {}
    path = os.environ.get("FIXTURE_SETTINGS")
    if path:
        with open(path, encoding="utf-8") as file:
            settings.update(json.load(file))
    text = os.environ.get("FIXTURE_SETTINGS_JSON")
    if text:
        settings.update(json.loads(text))
    return settings


def make_queue(value):
    if isinstance(value, str):
        return Queue(value, Exchange(value, type="direct"), routing_key=value)
    value = dict(value)
    exchange = value.pop("exchange", value["name"])
    kind = value.pop("exchange_type", "direct")
    exchange = Exchange(**exchange) if isinstance(exchange, dict) else Exchange(exchange, type=kind)
    return Queue(exchange=exchange, **{"routing_key": value["name"], **value})


def make_app(settings, name="fixture"):
    settings = dict(settings)
    queues = settings.pop("task_queues", None)
    app = Celery(name, set_as_current=True)
    app.conf.update(settings)
    if queues is not None:
        app.conf.task_queues = [make_queue(queue) for queue in queues]
    # The environment wins over what update() set; without update() Celery would look there by itself.
    for key in ("broker_url", "result_backend"):
        value = os.environ.get("CELERY_" + key.upper())
        if value and key not in settings:
            app.conf[key] = value
    return app
