"""What real Celery does with a table of routes and calls: where each message goes and what it carries.

Reads one JSON object from stdin: {"now": ISO text, "cases": [{"conf": {...}, "tasks": {name: attributes}, "calls": [...]}]}.
A call is {"by": "definition" | "name", "name": ..., "options": {...}}. Writes one JSON object: the outcome of every call, and
the names of all settings. In `task_routes` {"$regex": text} is a compiled pattern (as the first of a pair),
{"$function": {name: answer}} a router function. Nothing is sent anywhere.
"""

import json
import re
import sys
from contextlib import contextmanager
from datetime import datetime

from celery import Celery
from celery.app.defaults import _TO_NEW_KEY, SETTING_KEYS
from kombu import Exchange, Queue
from kombu.messaging import Producer
from kombu.transport.base import to_rabbitmq_queue_arguments


class Connection:
    @contextmanager
    def _reraise_as_library_errors(self):
        yield


class Recorder:
    """Stands where the producer does and keeps what it is told to publish."""

    connection = Connection()

    def __init__(self):
        self.published = None

    def publish(self, body, **kwargs):
        self.published = dict(kwargs, body=body)


def router(value):
    if isinstance(value, dict) and "$function" in value:
        answers = value["$function"]
        return lambda name, args, kwargs, options, task=None, **kw: answers.get(name)
    if isinstance(value, list):
        return [(re.compile(k["$regex"]) if isinstance(k, dict) else k, v) for k, v in value]
    return value


def configure(conf):
    conf = dict(conf)
    routes = conf.get("task_routes")
    if isinstance(routes, list):
        conf["task_routes"] = [router(r) for r in routes]
    elif routes is not None:
        conf["task_routes"] = router(routes)
    queues = conf.get("task_queues")
    if isinstance(queues, list):
        conf["task_queues"] = [queue(q) for q in queues]
    return conf


def exchange(value):
    return Exchange(**value) if isinstance(value, dict) else value


def queue(value):
    value = dict(value)
    if "exchange" in value:
        value["exchange"] = exchange(value["exchange"])
    return Queue(**value)


def options_of(call):
    options = dict(call.get("options", {}))
    if isinstance(options.get("queue"), dict):
        options["queue"] = queue(options["queue"])
    if isinstance(options.get("exchange"), dict):
        options["exchange"] = exchange(options["exchange"])
    for key in ("eta", "expires"):
        if isinstance(options.get(key), dict):
            options[key] = datetime.fromisoformat(options[key]["$datetime"])
    return options


def entity(q):
    arguments = to_rabbitmq_queue_arguments(
        q.queue_arguments or {}, expires=q.expires, message_ttl=q.message_ttl, max_length=q.max_length,
        max_length_bytes=q.max_length_bytes, max_priority=q.max_priority)
    return {
        "name": q.name, "exchange": q.exchange.name, "type": q.exchange.type, "routingKey": q.routing_key,
        "durable": q.durable, "autoDelete": bool(q.auto_delete), "exclusive": bool(q.exclusive), "arguments": arguments,
    }


def outcome(app, call, now):
    recorder = Recorder()
    options = options_of(call)
    try:
        if call["by"] == "definition":
            app.tasks[call["name"]].apply_async(producer=recorder, task_id="id", **options)
        else:
            app.send_task(call["name"], producer=recorder, task_id="id", **options)
    except Exception as exc:
        return {"error": type(exc).__name__}
    sent = recorder.published
    # The real producer's own share: exchange objects, delivery modes, expiration.
    name, mode = Producer(None)._delivery_details(sent["exchange"] or Exchange(""), sent["delivery_mode"])
    expiration = sent.get("expiration")
    headers = sent["headers"]
    return {
        "exchange": name, "routingKey": sent["routing_key"] or "", "deliveryMode": mode,
        "declare": [entity(q) for q in sent["declare"] or []],
        "priority": sent["priority"] if "priority" in sent else 0,
        "serializer": sent["serializer"], "compression": sent["compression"],
        "expiration": None if expiration is None else str(int(expiration * 1000)),
        "retry": sent["retry"], "maxRetries": sent["retry_policy"].get("max_retries"),
        "eta": headers["eta"], "expires": headers["expires"], "timelimit": headers["timelimit"],
        "ignoreResult": headers["ignore_result"], "custom": headers.get("custom"),
        "shadow": headers["shadow"], "group": headers["group"], "retries": headers["retries"],
    }


def body(*args, **kwargs):
    """Never called."""


def run(case, now):
    app = Celery("routes", broker="memory://", set_as_current=False)
    app.conf.update(configure(case["conf"]))
    fixed = datetime.fromisoformat(now)
    app.now = lambda: fixed.astimezone(app.timezone)
    for name, attributes in case.get("tasks", {}).items():
        app.task(name=name, shared=False, **attributes)(body)
    app.finalize()
    return [outcome(app, call, now) for call in case["calls"]]


def main():
    given = json.load(sys.stdin)
    json.dump({
        "results": [run(case, given["now"]) for case in given["cases"]],
        "settings": sorted(SETTING_KEYS),
        "oldNames": _TO_NEW_KEY,
    }, sys.stdout)


if __name__ == "__main__":
    main()
