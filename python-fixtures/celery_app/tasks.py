"""The tasks. Each does one thing that a test can ask for and judge from the other side."""

import builtins
import datetime
import decimal
import os
import socket
import time
import uuid

from celery import current_task, signature
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

from . import exceptions
from .records import add_record

logger = get_task_logger("fixture")

# The fields of a request that tests look at. Absent ones are left out, so that one list serves all versions.
REQUEST_FIELDS = (
    "id task root_id parent_id group group_index correlation_id reply_to retries eta expires delivery_info headers args kwargs "
    "origin shadow argsrepr kwargsrepr ignore_result stamps stamped_headers timelimit hostname is_eager lang utc "
    "replaced_task_nesting properties loglevel callbacks errbacks chain chord called_directly"
).split()


def add(x, y):
    return x + y


def mul(x, y):
    return x * y


def xsum(numbers):
    return sum(numbers)


def identity(value):
    return value


def echo(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


def describe(*args, **kwargs):
    """What Python received, in Python's own words: nothing is lost on the way back."""

    def one(value):
        return {"type": type(value).__name__, "repr": repr(value)}

    return {"args": [one(a) for a in args], "kwargs": {key: one(value) for key, value in kwargs.items()}}


def signature_like(a, b=2, *rest, c, d=4, **more):
    """Every kind of parameter, to compare calling rules and the wording of TypeError."""
    return {"a": a, "b": b, "rest": list(rest), "c": c, "d": d, "more": more}


def fail(exc="ValueError", *args):
    """Raises the built-in, Celery or fixture exception of that name."""
    import celery.exceptions

    for module in (builtins, exceptions, celery.exceptions):
        cls = getattr(module, exc, None)
        if cls is not None:
            raise cls(*args)
    raise LookupError(exc)


def fail_custom(code, detail):
    raise exceptions.FixtureError(code, detail)


def fail_keyword(reason):
    raise exceptions.KeywordOnlyError(reason=reason)


def fail_opaque():
    raise exceptions.OpaqueError(object())


def fail_with_cause(inner, outer):
    try:
        raise KeyError(inner)
    except KeyError as error:
        raise RuntimeError(outer) from error


def retry_until(self, n, countdown=0.1):
    """Retries until it has run `n` times, then returns the number of runs."""
    attempt = self.request.retries + 1
    if attempt < n:
        raise self.retry(exc=ValueError(f"attempt {attempt}"), countdown=countdown, max_retries=n + 1)
    return attempt


def retry_switch(self, queue, **options):
    """Retries once on another queue, so that the other language may finish it; says who did."""
    if self.request.retries == 0:
        raise self.retry(queue=queue, routing_key=queue, countdown=0, **options)
    return dict(_who(), retries=self.request.retries)


def retry_exhausted(self, max_retries=1):
    raise self.retry(exc=ValueError("never well"), countdown=0, max_retries=max_retries)


def progress(self, states=("STEP1", "STEP2"), pause=0.0):
    """Reports custom states with their position as meta, then returns how many there were."""
    for number, state in enumerate(states, 1):
        self.update_state(state=state, meta={"current": number, "total": len(states)})
        time.sleep(pause)
    return len(states)


def slow(seconds, value=None):
    time.sleep(seconds)
    return value


def hold(path, deadline=30.0):
    """Runs until the file at `path` exists. Touches `path + ".started"` first, so that a test need not guess."""
    with open(path + ".started", "w", encoding="utf-8") as file:
        file.write(current_task.request.id or "")
    end = time.monotonic() + deadline
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"nobody released {path}")
        time.sleep(0.02)
    return path


def soft_limited(seconds):
    """Answers `soft` when its soft time limit strikes."""
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "soft"
    return "done"


def ignored():
    raise Ignore()


def not_stored(value=None):
    return value


def reject(requeue=False):
    raise Reject("rejected by the fixture", requeue=requeue)


def reject_until_redelivered(self):
    """Gives its message back once."""
    if not (self.request.delivery_info or {}).get("redelivered"):
        raise Reject("once more", requeue=True)
    return "redelivered"


def die(code=1):
    """Takes its pool process down."""
    os._exit(code)


def big(n, fill="x"):
    return fill * n


def types(kind=None):
    """Values that JSON lacks. One of them by name, or all."""
    zoned = datetime.timezone(datetime.timedelta(hours=2))
    identifier = uuid.UUID("5f0c7b1e-1f2d-4c3b-9a48-6d5e4f3a2b1c")
    values = {
        "datetime": datetime.datetime(2026, 1, 2, 3, 4, 5, 678901),
        "datetime_utc": datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc),
        "datetime_zoned": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=zoned),
        "date": datetime.date(2026, 1, 2),
        "time": datetime.time(3, 4, 5, 678901),
        "decimal": decimal.Decimal("12345678901234567890.0123456789"),
        "uuid": identifier,
        "bytes": b"\x00\xff\xfelovage",
        "ascii_bytes": b"lovage",
        "float_whole": 1.0,
        "nan": float("nan"),
        "infinity": float("inf"),
        "negative_infinity": float("-inf"),
        "big_integer": 2**63,
        "negative_big_integer": -(2**70),
        "text": "Grüße, 世界 \U0001f33f \u2028",
        "none": None,
        "nested": {"list": [decimal.Decimal("1.10"), {"when": datetime.date(2026, 1, 2)}], "id": identifier},
        "dunder": {"__proto__": {"polluted": True}, "constructor": 1},
    }
    return values if kind is None else values[kind]


def _who():
    return {
        "lang": "python",
        "hostname": socket.gethostname(),
        "node": getattr(current_task.request, "hostname", None),
        "pid": os.getpid(),
    }


def whoami():
    return _who()


def request_info(self, *args, **kwargs):
    info = {}
    for name in REQUEST_FIELDS:
        value = getattr(self.request, name, None)
        if value is not None:
            info[name] = list(value) if isinstance(value, tuple) else value
    info["who"] = _who()
    return info


def spawn(self, name, args=(), kwargs=None, **options):
    """Sends a child task by name and returns its id."""
    return self.app.send_task(name, args=list(args), kwargs=kwargs or {}, **options).id


def replace_with(self, sig):
    """Becomes another task: `sig` is a signature as it travels."""
    raise self.replace(signature(sig, app=self.app))


def record(self, key, where=None):
    """Appends `key lang pid attempt` to a file or a Redis list, once for every time it really ran."""
    add_record(where, f"{key} python {os.getpid()} {self.request.retries + 1}")
    return key


def on_error(self, failed_id, where=None):
    """Old-style errback: receives the id of the task that failed."""
    add_record(where, f"errback {failed_id}")


def on_error_full(request, exc, traceback, where=None):
    """New-style errback: receives the request, the exception and the traceback."""
    add_record(where, f"errback {request.id} {type(exc).__name__} {exc}")


def log(message, level="info"):
    getattr(logger, level)(message)


BOUND = (
    retry_until,
    retry_switch,
    retry_exhausted,
    progress,
    reject_until_redelivered,
    request_info,
    spawn,
    replace_with,
    record,
    on_error,
)
PLAIN = (
    add,
    mul,
    xsum,
    identity,
    echo,
    describe,
    signature_like,
    fail,
    fail_custom,
    fail_keyword,
    fail_opaque,
    fail_with_cause,
    slow,
    hold,
    soft_limited,
    ignored,
    die,
    big,
    types,
    whoami,
    on_error_full,
    log,
)


def register(app):
    def declare(function, **options):
        app.task(function, name="fixture." + function.__name__, **options)

    for function in BOUND:
        options = {"acks_late": True} if function is reject_until_redelivered else {}
        declare(function, bind=True, **options)
    for function in PLAIN:
        declare(function)
    # Reject is only heard while the message is still unsettled.
    declare(reject, acks_late=True)
    declare(not_stored, ignore_result=True)
