"""Answers, one JSON line per case on stdin, what Mognet itself makes of a document.

Run by protocol/mognet/python-agreement.service.test.ts with an interpreter that has Mognet. Each answer is {"ok": ...} or
{"error": "<exception type>", "message": "<text>"}. Operations:

request   text            a message body as the worker reads it, then as the client would send it
control   text            a Revoke or Query as the worker reads it
status    text            a status reply
deadline  text            JSON of a deadline, as the request would send it on
repr      args, kwargs    JSON texts; the short text of the arguments
result    fields          a result hash, as it would be written again
value     text            a value document: repr() of the value, and its type
error     text            JSON of a stored error: type, repr() and str() of what is raised
dumps     text            json.dumps(json.loads(text))
compact   text            pydantic's JSON of json.loads(text)
"""

import json
import sys
from typing import Any, Optional

from mognet.backend.redis_result_backend import _decode_json_dict, _encode_result
from mognet.broker.base_broker import MessagePayload
from mognet.model.result import Result, ResultValueHolder, _ExceptionInfo
from mognet.primitives.queries import QueryRequestMessage, StatusResponseMessage
from mognet.primitives.request import Request
from mognet.primitives.revoke import Revoke
from mognet.tools.kwargs_repr import format_kwargs_repr
from pydantic import TypeAdapter


class Incoming(MessagePayload):
    reply_to: Optional[str] = None


def incoming(text):
    contents = json.loads(text.encode("utf-8"))
    return Incoming(reply_to=None, **contents)


def check_request(case):
    message = incoming(case["text"])
    request = Request.model_validate(message.payload)
    fresh = None if "id" in message.payload else "fresh"
    sent = MessagePayload(id=str(request.id), kind="Request", payload=request.model_dump(), priority=request.priority)
    text = sent.model_dump_json()
    return text.replace(str(request.id), "fresh") if fresh else text


def check_control(case):
    message = incoming(case["text"])
    if message.kind == "Revoke":
        return str(Revoke.model_validate(message.payload).id)
    query = QueryRequestMessage.model_validate(message.payload)
    return query.name


def check_status(case):
    message = incoming(case["text"])
    status = StatusResponseMessage.model_validate(message.payload)
    return [status.node_id, [str(each) for each in status.payload.running_request_ids]]


def check_deadline(case):
    request = Request(name="t", deadline=json.loads(case["text"]))
    return json.loads(request.model_dump_json())["deadline"]


def check_repr(case):
    return format_kwargs_repr(tuple(json.loads(case["args"])), json.loads(case["kwargs"]))


def check_result(case):
    fields = {name.encode(): text for name, text in case["fields"].items()}
    result = Result(None, **_decode_json_dict(fields))
    return [[name, text.decode()] for name, text in _encode_result(result).items()]


def check_value(case):
    value = ResultValueHolder.model_validate_json(case["text"].encode("utf-8")).deserialize()
    return [repr(value), type(value).__name__]


def check_error(case):
    error = _ExceptionInfo.model_validate_json(case["text"]).exception
    return [type(error).__module__ + ":" + type(error).__name__, repr(error), str(error)]


def check_dumps(case):
    return json.dumps(json.loads(case["text"]))


def check_compact(case):
    return TypeAdapter(Any).dump_json(json.loads(case["text"])).decode("utf-8")


def answer(case):
    try:
        return {"ok": globals()["check_" + case["op"]](case)}
    except Exception as error:  # whatever Python raises is the answer
        return {"error": type(error).__name__, "message": str(error)[:300]}


for line in sys.stdin:
    sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
