"""Answers, one JSON line per case on stdin, what Python itself makes of a value, a call or a time.

Run by protocol/python-agreement.service.test.ts with an interpreter that has Celery. Each answer is
{"ok": ...} or {"error": "<exception type>", "message": "<text>"}. Operations:

json      text                          Kombu's loads, then its dumps
saferepr  text, maxlen, maxlevels, tuple
repr      text                          repr() of the decoded value
exception name, text                    repr() of an exception with these arguments
bind      name, params, args, kwargs    the call itself; ok: the locals as JSON
iso       text                          dateutil's isoparse, as microseconds since 1970 and the offset in seconds
format    micros, offset                isoformat() of an instant (microseconds since 1970)
"""

import json
import sys
from datetime import datetime, timedelta, timezone

from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601
from kombu.utils.json import dumps, loads

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


def check_json(case):
    return dumps(loads(case["text"]))


def check_saferepr(case):
    value = loads(case["text"])
    if case.get("tuple"):
        value = tuple(value)
    return saferepr(value, case["maxlen"], maxlevels=case["maxlevels"])


def check_repr(case):
    return repr(loads(case["text"]))


def check_exception(case):
    cls = type(case["name"], (Exception,), {})
    return repr(cls(*loads(case["text"])))


def check_bind(case):
    namespace = {}
    exec(f"def {case['name']}({case['params']}):\n    return locals()", namespace)
    return dumps(namespace[case["name"]](*case["args"], **case["kwargs"]))


def check_iso(case):
    parsed = maybe_iso8601(case["text"])
    offset = parsed.utcoffset()
    wall = (parsed.replace(tzinfo=None) - EPOCH) // MICROSECOND
    if offset is None:
        return [str(wall), None]
    return [str(wall - offset // MICROSECOND), offset.total_seconds()]


def check_format(case):
    instant = EPOCH + timedelta(microseconds=int(case["micros"]))
    if case["offset"] is None:
        return instant.isoformat()
    zone = timezone(timedelta(minutes=case["offset"]))
    return instant.replace(tzinfo=timezone.utc).astimezone(zone).isoformat()


CHECKS = {
    "json": check_json,
    "saferepr": check_saferepr,
    "repr": check_repr,
    "exception": check_exception,
    "bind": check_bind,
    "iso": check_iso,
    "format": check_format,
}


def main():
    for line in sys.stdin:
        case = json.loads(line)
        try:
            answer = {"ok": CHECKS[case["op"]](case)}
        except Exception as exc:
            answer = {"error": type(exc).__name__, "message": str(exc)}
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
