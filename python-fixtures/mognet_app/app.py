"""A Mognet app whose tasks, all under `fixture.`, do what a Mognet test asks of a Python peer.

Run it with `mognet mognet_app.app run`. Configured by FIXTURE_AMQP, FIXTURE_REDIS, FIXTURE_APP (the app's name, which prefixes all
keys), FIXTURE_NODE (one for each process), FIXTURE_CONCURRENCY, and FIXTURE_CONFIG (JSON, more keys of AppConfig). With
FIXTURE_RECORD, the URL of a Redis, every run and every middleware hook leaves a note there (`record.py`).
"""

import json
import os

from mognet import App, AppConfig

from . import children, failures, flow, tasks, values  # noqa: F401 (they register their tasks)
from .record import Recorder


def read_config():
    redis = {"redis": {"url": os.environ.get("FIXTURE_REDIS", "redis://localhost:6379/1")}}
    config = {
        "broker": {"amqp": {"url": os.environ.get("FIXTURE_AMQP", "amqp://guest:guest@localhost:5672/")}},
        "result_backend": redis,
        "state_backend": redis,
        "minimum_concurrency": int(os.environ.get("FIXTURE_CONCURRENCY", "4")),
    }
    if os.environ.get("FIXTURE_NODE"):
        config["node_id"] = os.environ["FIXTURE_NODE"]
    config.update(json.loads(os.environ.get("FIXTURE_CONFIG", "{}")))
    return AppConfig.model_validate(config)


app = App(name=os.environ.get("FIXTURE_APP", "fixture"), config=read_config())

if os.environ.get("FIXTURE_RECORD"):
    app.add_middleware(Recorder())
