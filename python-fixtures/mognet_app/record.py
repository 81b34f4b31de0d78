"""What a task leaves behind for a test: notes in Redis lists, `<app>.note.<request id>`, one JSON object each, in the order of events.

`<app>.notes` has one line for each of them, so that a test can wait for many without looking at each.
"""

import asyncio
import json
import os
from contextlib import asynccontextmanager

from mognet.middleware.middleware import Middleware
from pydantic_core import to_jsonable_python
from redis.asyncio import Redis

connection = None
prefix = os.environ.get("FIXTURE_APP", "fixture")


def redis():
    global connection
    if connection is None:
        connection = Redis.from_url(os.environ["FIXTURE_RECORD"])
    return connection


async def note(request, event, **facts):
    if not os.environ.get("FIXTURE_RECORD"):
        return
    line = {"event": event, "lang": "python", **to_jsonable_python(facts, fallback=repr)}
    async with redis().pipeline(transaction=True) as pipe:
        pipe.rpush(f"{prefix}.note.{request.id}", json.dumps(line))
        pipe.rpush(f"{prefix}.notes", f"{request.id} {event} python {os.getpid()}")
        await pipe.execute()


@asynccontextmanager
async def running(request):
    """Notes that it runs, and that it was cancelled: from the moment on that a test can see the first, the second is sure to follow."""
    try:
        await asyncio.shield(note(request, "run"))
        yield
    except asyncio.CancelledError:
        await asyncio.shield(note(request, "cancelled"))
        raise


async def gate(name):
    """Returns when a test has opened the gate: the key `<app>.gate.<name>` is there."""
    while not await redis().exists(f"{prefix}.gate.{name}"):
        await asyncio.sleep(0.05)


class Recorder(Middleware):
    async def on_request_submitting(self, request, context=None):
        await note(request, "submitting", child=context is not None)

    async def on_task_starting(self, context):
        await note(context.request, "starting")

    async def on_task_completed(self, result, context=None):
        await note(result, "completed", state=result.state.value)
