"""A Mognet app whose tasks, all under `fixture.`, do what a Mognet test asks of a Python peer.

Run it with `mognet mognet_app.app run`. Configured by FIXTURE_AMQP, FIXTURE_REDIS, FIXTURE_APP (the app's name, which prefixes all
keys), FIXTURE_NODE (one for each process) and FIXTURE_CONCURRENCY.
"""

import asyncio
import os
import socket

from mognet import App, AppConfig, Context, task
from mognet.exceptions.task_exceptions import Pause


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
    return AppConfig.model_validate(config)


app = App(name=os.environ.get("FIXTURE_APP", "fixture"), config=read_config())


@task(name="fixture.add")
async def add(context: Context, a: float, b: float = 1):
    return a + b


@task(name="fixture.echo")
async def echo(context: Context, value):
    return value


@task(name="fixture.fail")
async def fail(context: Context, message: str):
    raise ValueError(message)


@task(name="fixture.slow")
async def slow(context: Context, seconds: float, value=None):
    await asyncio.sleep(seconds)
    return value


@task(name="fixture.whoami")
async def whoami(context: Context):
    return {"lang": "python", "hostname": socket.gethostname(), "pid": os.getpid()}


@task(name="fixture.spawn")
async def spawn(context: Context, count: int, seconds: float = 0):
    """Runs `count` children at once and returns what they returned."""
    return await asyncio.gather(*[context.run(slow, seconds, number) for number in range(count)])


@task(name="fixture.pause")
async def pause(context: Context, times: int):
    """Asks to be run again `times` times, counting in its state."""
    done = await context.state.get("done", 0)
    if done < times:
        await context.state.set("done", done + 1)
        raise Pause()
    return done
