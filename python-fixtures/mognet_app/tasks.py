"""The plain tasks."""

import asyncio
import os
import socket

from mognet import Context, task

from .record import gate, note, running


@task(name="fixture.add")
async def add(context: Context, a: float, b: float = 1):
    await note(context.request, "run", args=[a, b])
    return a + b


@task(name="fixture.sync_add")
def sync_add(context: Context, a: float, b: float = 1):
    context.call_threadsafe(note(context.request, "run", args=[a, b]))
    return a + b


@task(name="fixture.echo")
async def echo(context: Context, value):
    await note(context.request, "run", args=[value])
    return value


@task(name="fixture.keywords")
async def keywords(context: Context, first, *rest, flag=False, **others):
    await note(context.request, "run", args=[first, rest, flag, others])
    return {"first": first, "rest": rest, "flag": flag, "others": others}


@task(name="fixture.slow")
async def slow(context: Context, seconds: float, value=None):
    async with running(context.request):
        await asyncio.sleep(seconds)
    return value


@task(name="fixture.hold")
async def hold(context: Context, name: str):
    """Ends when a test opens the gate."""
    await note(context.request, "run")
    await gate(name)
    return name


@task(name="fixture.whoami")
async def whoami(context: Context):
    return {"lang": "python", "hostname": socket.gethostname(), "pid": os.getpid()}


@task(name="fixture.request")
async def request(context: Context):
    """What a task can read of its own request."""
    fields = context.request.model_dump(mode="json")
    del fields["id"]
    return {**fields, "stack": len(fields["stack"])}


@task(name="fixture.metadata")
async def metadata(context: Context, values: dict):
    await context.set_metadata(**values)
    return await (await context.get_result()).get_metadata()
