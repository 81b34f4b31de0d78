"""A long-lived Python client driven by JSON lines, so that a test can use real Celery without starting an interpreter per case.

One request a line on stdin: `{"id": 1, "op": "send", "app": 0, ...}`; one answer a line on stdout: `{"id": 1, "ok": value}` or
`{"id": 1, "error": {...}}`. Requests are served one after the other. Values are written and read with Kombu's own JSON, so those
that JSON lacks travel with Kombu's tags. `App 0` is configured as `celery_app.settings` says; `open` makes more.
Keep it working on Celery 5.4.0, 5.6.3 and 5.7.0.
"""

import base64
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import celery
import kombu
from celery import chain, chord, group, signature
from celery.result import AsyncResult, result_from_tuple
from kombu.utils import json

from celery_app.settings import make_app, read_settings

apps = []
receivers = {}


def describe_error(error):
    """An exception as data. `args` falls back to repr where JSON cannot express it."""
    args = []
    for arg in getattr(error, "args", ()):
        try:
            json.dumps(arg)
            args.append(arg)
        except Exception:
            args.append(repr(arg))
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "bases": [cls.__name__ for cls in type(error).__mro__[1:-1]],
        "message": str(error),
        "repr": repr(error),
        "args": args,
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def describe_value(value):
    """A result: the value itself, Kombu's text for it, and what Python calls it."""
    seen = {"value": None, "json": None, "repr": repr(value), "type": type(value).__name__}
    try:
        seen["json"] = json.dumps(value)
        json.dumps(value, allow_nan=False)
        seen["value"] = value
    except Exception:
        # NaN and the infinities have a text in Python's JSON and none in JSON; other values have none at all.
        pass
    return seen


def make_signature(app, tree):
    """`{task, args, kwargs, options, immutable}`, `{chain: [...]}`, `{group: [...]}`, `{chord: [...], body}` or a signature dict."""
    if "chain" in tree:
        made = chain(*[make_signature(app, part) for part in tree["chain"]], app=app)
    elif "group" in tree:
        made = group([make_signature(app, part) for part in tree["group"]], app=app)
    elif "chord" in tree:
        header = [make_signature(app, part) for part in tree["chord"]]
        made = chord(header, body=make_signature(app, tree["body"]), app=app)
    elif "subtask_type" in tree:
        return signature(tree, app=app)
    else:
        made = signature(tree["task"], args=tree.get("args", ()), kwargs=tree.get("kwargs"), app=app)
    if tree.get("options"):
        made.set(**tree["options"])
    if tree.get("immutable"):
        made.set(immutable=True)
    for error_callback in tree.get("link_error", ()):
        made.link_error(make_signature(app, error_callback))
    for callback in tree.get("link", ()):
        made.link(make_signature(app, callback))
    return made


def send_options(app, options):
    options = dict(options or {})
    for name in ("link", "link_error"):
        if options.get(name):
            value = options[name] if isinstance(options[name], list) else [options[name]]
            options[name] = [make_signature(app, tree) for tree in value]
    return options


def op_open(app, settings):
    apps.append(make_app(settings, name=f"fixture-client-{len(apps)}"))
    return len(apps) - 1


def op_versions(app):
    return {"python": sys.version.split()[0], "celery": celery.__version__, "kombu": kombu.__version__, "pid": os.getpid()}


def op_conf(app, names):
    return {name: app.conf[name] for name in names}


def op_send(app, task, args=(), kwargs=None, options=None):
    return app.send_task(task, args=list(args), kwargs=kwargs or {}, **send_options(app, options)).id


def op_apply(app, tree, args=None, kwargs=None, options=None):
    result = make_signature(app, tree).apply_async(args=args, kwargs=kwargs or {}, **send_options(app, options))
    return {"id": result.id, "tuple": result.as_tuple()}


def op_signature(app, tree):
    """The signature as Python would put it on the wire."""
    return make_signature(app, tree)


def find_result(app, task_id, result_tuple):
    return result_from_tuple(result_tuple, app=app) if result_tuple else AsyncResult(task_id, app=app)


def op_get(app, task_id=None, tuple=None, timeout=10, interval=0.02, options=None):
    """What `result.get()` gives: `{state, value, ...}`, or `{state, raised}` when it raises."""
    result = find_result(app, task_id, tuple)
    try:
        value = result.get(timeout=timeout, interval=interval, **(options or {}))
    except BaseException as error:
        state = getattr(result, "state", None)
        return {"state": state, "raised": describe_error(error)}
    return {"state": getattr(result, "state", None), **describe_value(value)}


def op_state(app, task_id):
    """What a client can read about a task without waiting."""
    result = AsyncResult(task_id, app=app)
    meta = result._get_task_meta()
    info = result.info
    fields = {}
    for name in ("state", "traceback", "date_done", "name", "args", "kwargs", "worker", "retries", "queue"):
        fields[name] = getattr(result, name, None)
    for name in ("args", "kwargs"):
        if isinstance(fields[name], (bytes, bytearray)):
            fields[name] = bytes(fields[name]).decode("utf-8", "replace")
    fields["info"] = describe_error(info) if isinstance(info, BaseException) else describe_value(info)
    fields["raised"] = isinstance(info, BaseException)
    fields["children"] = [child.as_tuple() for child in result.children or ()]
    fields["meta_keys"] = sorted(meta)
    return fields


def op_raw_meta(app, task_id):
    """The stored record as the backend holds it, as text; null when nothing is stored."""
    backend = app.backend
    raw = backend.get(backend.get_key_for_task(task_id))
    return raw.decode("utf-8", "replace") if isinstance(raw, (bytes, bytearray)) else raw


def op_forget(app, task_id):
    AsyncResult(task_id, app=app).forget()


def op_revoke(app, task_id, options=None):
    app.control.revoke(task_id, **(options or {}))


def op_broadcast(app, command, arguments=None, destination=None, timeout=1.0, reply=True, options=None):
    return app.control.broadcast(
        command, arguments=arguments, destination=destination, reply=reply, timeout=timeout, **(options or {})
    )


def op_purge(app, queue):
    with app.connection_for_write() as connection:
        return connection.default_channel.queue_purge(queue)


def op_queue(app, queue):
    """Ready messages and consumers; null when the broker has no such queue."""
    with app.connection_for_write() as connection:
        try:
            answer = connection.default_channel.queue_declare(queue, passive=True)
        except connection.channel_errors:
            return None
        return {"messages": answer.message_count, "consumers": answer.consumer_count}


def op_declare(app, queue):
    from celery_app.settings import make_queue

    with app.connection_for_write() as connection:
        make_queue(queue)(connection.default_channel).declare()


def op_publish(app, routing_key, exchange="", body=None, body_base64=None, priority=0, headers=None, properties=None, **content):
    """Puts a message on the broker below Kombu's serialization: the body goes out as given."""
    raw = base64.b64decode(body_base64) if body_base64 is not None else (body or "").encode("utf-8")
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        message = channel.prepare_message(
            raw,
            priority=priority,
            content_type=content.get("content_type"),
            content_encoding=content.get("content_encoding"),
            headers=headers,
            properties={"delivery_mode": 2, **(properties or {})},
        )
        channel.basic_publish(message, exchange=exchange, routing_key=routing_key)


def op_basic_get(app, queue, ack=True):
    """Takes one message off a queue and says all that Python sees of it; null when the queue is empty."""
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        message = channel.basic_get(queue, no_ack=False)
        if message is None:
            return None
        # Virtual transports answer with Kombu's message already (kombu/entity.py: Queue.get does the same).
        message = getattr(channel, "message_to_python", lambda raw: raw)(message)
        body = message.body
        raw = body.encode("utf-8") if isinstance(body, str) else bytes(body)
        properties = {key: value for key, value in (message.properties or {}).items() if key != "delivery_info"}
        seen = {
            "body": raw.decode("utf-8", "replace"),
            "body_base64": base64.b64encode(raw).decode(),
            "content_type": message.content_type,
            "content_encoding": message.content_encoding,
            "headers": getattr(message, "headers", None),
            "properties": properties,
            "delivery_info": {
                key: value for key, value in message.delivery_info.items() if isinstance(value, (str, int, bool, type(None)))
            },
        }
        message.ack() if ack else message.requeue()
        return seen


def op_events_start(app, limit=10_000):
    """Begins to collect the fleet's events, as a monitor would; answers when subscribed."""
    key = apps.index(app)
    if key in receivers:
        raise RuntimeError("this app already collects events")
    seen, ready, stop, failed = [], threading.Event(), threading.Event(), []

    def collect():
        try:
            with app.connection_for_read() as connection:
                receiver = app.events.Receiver(connection, handlers={"*": seen.append})
                # The receiver consumes on a connection of its own, which it hands out.
                with receiver.consumer_context(wakeup=False) as (own, _, _):
                    while not stop.is_set() and len(seen) < limit:
                        try:
                            own.drain_events(timeout=0.1)
                        except (TimeoutError, OSError):
                            pass
                        # Over Redis it subscribes where it first looks for events, not before.
                        ready.set()
        except Exception as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=collect, daemon=True)
    thread.start()
    if not ready.wait(25):
        raise TimeoutError("nothing is heard yet")
    if failed:
        raise failed[0]
    receivers[key] = (thread, stop, seen)


def op_events(app):
    return list(receivers[apps.index(app)][2])


def op_events_stop(app):
    thread, stop, seen = receivers.pop(apps.index(app))
    stop.set()
    thread.join(5)
    return seen


def op_run(app, source, variables=None):
    """Runs Python text with `app`, `celery`, `kombu` and the given variables; answers what it leaves in `answer`."""
    space = {"app": app, "celery": celery, "kombu": kombu, "time": time, **(variables or {})}
    exec(compile(source, "<run>", "exec"), space)
    return space.get("answer")


def serve(lines, out):
    operations = {name[3:]: function for name, function in globals().items() if name.startswith("op_")}
    for line in lines:
        request = json.loads(line)
        number = request.pop("id")
        try:
            operation = operations[request.pop("op")]
            app = apps[request.pop("app", 0)]
            answer = json.dumps({"id": number, "ok": operation(app, **request)}, allow_nan=False)
        except BaseException as error:
            answer = json.dumps({"id": number, "error": describe_error(error)})
        out.write(answer + "\n")
        out.flush()
        gc.collect(0)


if __name__ == "__main__":
    # Whatever prints to stdout must not mix with the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # AsyncResult.__del__ unsubscribes (celery/result.py). Run by the collector while redis-py 5 holds the lock of the same
    # subscription, it waits for itself for ever (seen with Celery 5.4.0); so collect only where no lock is held.
    gc.disable()
    # Asked for by the harness when an answer is late: says on stderr where every thread stands.
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    apps.append(make_app(read_settings(), name="fixture-client"))
    out.write(json.dumps({"id": 0, "ok": op_versions(apps[0])}) + "\n")
    out.flush()
    serve(iter(sys.stdin.readline, ""), out)
