"""Records what Celery and Kombu make of fixed inputs, as JSON for protocol/vectors/recorded/.

    python python-fixtures/record_vectors.py protocol/vectors/recorded/celery-5.7.0.json

Needs celery and kombu[redis], and no broker. Ids, clocks and host names are fixed, so two runs with the same versions
write the same file: a difference is a change of the wire.
"""

import base64
import json
import re
import sys
from datetime import datetime, timezone
from itertools import count

import celery
import kombu
from celery import Celery, chain, chord, group, states
from celery.app.task import Context
from celery.backends.base import KeyValueStoreBackend
from kombu.transport.base import to_rabbitmq_queue_arguments
from kombu.transport.filesystem import Channel as FilesystemChannel
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.virtual.exchange import TopicExchange
from kombu.utils.json import dumps

TASK_ID = "11111111-1111-4111-8111-111111111111"
REPLY_TO = "22222222-2222-3222-8222-222222222222"
NOW = datetime(2026, 11, 21, 9, 8, 7, 654321, tzinfo=timezone.utc)


def make_app():
    app = Celery("vectors", broker="memory://", backend="cache+memory://", set_as_current=True)
    app.conf.update(task_create_missing_queues=True)
    app.now = lambda: NOW

    @app.task(name="vec.add", typing=False)
    def add(*args, **kwargs):
        pass

    return app, add


class Capture:
    """Sends through the memory transport and takes the raw envelope off the queue again."""

    def __init__(self, app):
        self.app = app
        self.connection = app.connection_for_write()
        self.channel = self.connection.default_channel
        tags = count(1)
        self.channel._next_delivery_tag = lambda: f"tag-{next(tags)}"

    def messages(self, send, queue="celery"):
        with self.app.amqp.Producer(self.channel, auto_declare=False) as producer:
            send(producer)
        found = []
        while self.channel._size(queue):
            found.append(self.channel._get(queue))
        return [self.row(message) for message in found]

    def row(self, message):
        return {
            "headers": message["headers"],
            "properties": message["properties"],
            "content_type": message["content-type"],
            "content_encoding": message["content-encoding"],
            "body": base64.b64decode(message["body"]).decode("utf-8"),
            "envelope": dumps(message),
        }


def record_tasks(app, add):
    capture = Capture(app)
    fixed = {"task_id": TASK_ID, "reply_to": REPLY_TO, "origin": "gen1@vector"}
    s = add.s
    cases = {
        "plain": lambda p: add.apply_async((2, 3), producer=p, **fixed),
        "kwargs_only": lambda p: add.apply_async(kwargs={"x": 2, "y": "ü\n'\"\u2603😀"}, producer=p, **fixed),
        "empty": lambda p: add.apply_async(producer=p, **fixed),
        "numbers": lambda p: add.apply_async(
            (1.0, 1e100, -0.0, 2**63, -(2**70), float("inf"), float("nan"), 0.1, 1e-7, 123456789012345680.0),
            producer=p, **fixed),
        "nested": lambda p: add.apply_async(([1, [2, [3, [4]]]], {"a": {"b": {"c": {"d": 1}}}}), producer=p, **fixed),
        "long_text": lambda p: add.apply_async(("word " * 400, "x" * 2000), producer=p, **fixed),
        "one_arg": lambda p: add.apply_async(("it's",), producer=p, **fixed),
        "booleans_and_null": lambda p: add.apply_async((True, False, None), {"k": None}, producer=p, **fixed),
        "eta_expires": lambda p: add.apply_async(
            (1, 1), eta=datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
            expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc), producer=p, **fixed),
        "limits_priority": lambda p: add.apply_async((1, 1), time_limit=30, soft_time_limit=1.5, priority=5, producer=p, **fixed),
        "custom_headers": lambda p: add.apply_async((1, 1), headers={"x-trace": "abc", "n": {"a": [1.0, None]}}, producer=p, **fixed),
        "stamped": lambda p: add.apply_async((1, 1), stamped_headers=["sid"], sid=["a", 1], producer=p, **fixed),
        "shadow_ids": lambda p: add.apply_async(
            (1, 1), shadow="other", root_id="root", parent_id="parent", group_id="grp", group_index=3, retries=2,
            ignore_result=True, replaced_task_nesting=1, producer=p, **fixed),
        "links": lambda p: add.apply_async(
            (1, 1), link=s(10), link_error=add.si("e", 1.5).set(priority=3), producer=p, **fixed),
        "chord_and_chain": lambda p: add.apply_async(
            (1, 1), chord=s(7).set(task_id="body"), chain=[s(3), s(2)], producer=p, **fixed),
        "nested_canvas": lambda p: add.apply_async(
            (chain(s(1), s(2)), group(s(1), s(2)), chord([s(1)], s(2))), producer=p, **fixed),
        "extra_properties": lambda p: add.apply_async((1, 1), message_id="m", app_id="a", foo="bar", producer=p, **fixed),
    }
    return [dict(name=name, messages=capture.messages(send)) for name, send in cases.items()]


class Backend(KeyValueStoreBackend):
    def __init__(self, *args, **kwargs):
        self.stored = {}
        super().__init__(*args, **kwargs)

    def get(self, key):
        return None

    def set(self, key, value):
        self.stored[key] = value


class Outer:
    class InnerError(Exception):
        pass


def record_results(app):
    request = Context(
        id=TASK_ID, task="vec.add", args=[1, 2], kwargs={"k": 1.5}, hostname="w@vector", retries=1,
        delivery_info={"routing_key": "celery"}, group="grp", parent_id="parent",
        stamped_headers=["sid"], stamps={"sid": "x"}, children=[app.AsyncResult("child")])
    bare = Context(id=TASK_ID, task="vec.add", args=[], kwargs={}, hostname="w@vector", retries=0,
                   delivery_info={"routing_key": "celery"}, children=[])
    cases = {
        "success": (5, states.SUCCESS, None, bare),
        "success_null": (None, states.SUCCESS, None, bare),
        "success_float": (1.0, states.SUCCESS, None, bare),
        "success_big": ([2**64, "é"], states.SUCCESS, None, bare),
        "success_in_group": (5, states.SUCCESS, None, request),
        "failure": (ValueError("boom", 42), states.FAILURE, "Traceback …", bare),
        "failure_no_args": (KeyError(), states.FAILURE, None, bare),
        "failure_nested_class": (Outer.InnerError("x"), states.FAILURE, None, bare),
        "failure_unserialisable": (ValueError("x", 1j), states.FAILURE, None, bare),
        "retry": (None, states.RETRY, "Traceback …", bare),
        "revoked": (celery.exceptions.TaskRevokedError("revoked"), states.REVOKED, None, bare),
        "started": ({"pid": 1, "hostname": "w@vector"}, states.STARTED, None, bare),
        "custom": ({"done": 1}, "PROGRESS", None, None),
    }
    rows = []
    for extended in (False, True):
        app.conf.result_extended = extended
        for name, (result, state, traceback, req) in cases.items():
            backend = Backend(app=app)
            backend.store_result(TASK_ID, result, state, traceback=traceback, request=req)
            (key, value), = backend.stored.items()
            text = value.decode() if isinstance(value, bytes) else value
            text = re.sub(r'("date_done": ")[^"]+', lambda found: found[1] + NOW.isoformat(), text)  # 5.4 asks the real clock
            rows.append(dict(name=name, extended=extended, key=key.decode(), text=text))
    app.conf.result_extended = False
    backend = Backend(app=app)
    parent = app.AsyncResult("p", parent=app.AsyncResult("pp"))
    saved = app.GroupResult("gid", [app.AsyncResult("a"), app.GroupResult("g2", [app.AsyncResult("b")])], parent=parent)
    backend.save_group("gid", saved)
    (key, value), = backend.stored.items()
    return rows, dict(key=key.decode(), text=value.decode() if isinstance(value, bytes) else value)


def record_prefixes(app):
    rows = []
    for prefix in ("", "pre", "pre_", "pre:", "pre-", "pre.", "p/q"):
        app.conf.result_backend_transport_options = {"global_keyprefix": prefix}
        backend = Backend(app=app)
        rows.append([prefix, backend.get_key_for_task("i").decode(), backend.get_key_for_group("i", ".j").decode(),
                     backend.get_key_for_chord("i").decode()])
    app.conf.result_backend_transport_options = {}
    return rows


def record_topics():
    topic = TopicExchange(None)
    keys = ["", "#", "*", "a", "a.b", "a.*", "a.#", "#.b", "a.#.b", "*.*", "a.*.c", "task-x.#", "é.ß", "a b", "x_y", "#.#"]
    routing = ["", "a", "a.b", "a.b.c", "a.", ".a", "a..b", "b", "x.b", "a.x.y.b", "task-x.1", "é.ß", "a.bb.c", "x_y", "..", "."]
    return [dict(key=key, pattern=topic.key_to_pattern(key),
                 matches=[rk for rk in routing if topic._match(topic.key_to_pattern(key), rk)]) for key in keys], routing


def record_priorities():
    rows = []
    for steps in ([0, 3, 6, 9], [0, 5], [2, 4]):
        class Steps(RedisChannel):
            def __init__(self):
                pass

            def __del__(self):
                pass

        channel = Steps()
        channel.priority_steps = steps
        channel.sep = "\x06\x16"
        rows.append(dict(steps=steps, lists=[channel._q_for_pri("q", p) for p in range(10)]))
    return rows


def record_names():
    names = ["", "celery", "a.b-c_d", ".", "..", "a/b", "CON", "con.x", "COM1", "COM0", "LPT9.x", "é", "a b", "x\n", "NUL.", "a:b"]
    check = getattr(FilesystemChannel, "_is_valid_exchange_name", None)  # since 5.7
    return [[name, check(name)] for name in names] if check else None


def record_queue_arguments():
    options = [dict(expires=1.5), dict(message_ttl=0.0015), dict(max_length=10, max_length_bytes=1000), dict(max_priority=10),
               dict(expires=60, message_ttl=None)]
    return [dict(options=o, arguments=to_rabbitmq_queue_arguments({"x-queue-type": "quorum"}, **o)) for o in options]


def main(path):
    app, add = make_app()
    tasks = record_tasks(app, add)
    results, saved_group = record_results(app)
    topics, routing = record_topics()
    document = dict(
        celery=celery.__version__, kombu=kombu.__version__, tasks=tasks, results=results, saved_group=saved_group,
        key_prefixes=record_prefixes(app), topics=topics, topic_routing_keys=routing, priorities=record_priorities(),
        exchange_names=record_names(), queue_arguments=record_queue_arguments(),
        precedence={state: states.precedence(state) for state in
                    ["SUCCESS", "FAILURE", "PROGRESS", "REVOKED", "STARTED", "RECEIVED", "REJECTED", "RETRY", "PENDING"]})
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, ensure_ascii=True)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
