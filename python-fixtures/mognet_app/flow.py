"""Pausing, state and services."""

import asyncio

from mognet import Context, task
from mognet.exceptions.task_exceptions import Pause
from mognet.service.class_service import ClassService

from .record import note


@task(name="fixture.pause")
async def pause(context: Context, times: int):
    """Asks to be run again `times` times, counting in its state."""
    done = await context.state.get("done", 0)
    await note(context.request, "run", done=done)
    if done < times:
        await context.state.set("done", done + 1)
        raise Pause()
    return done


@task(name="fixture.relay")
async def relay(context: Context, hops: int):
    """Pauses until so many runs, each on another node than the one before, have taken part; answers how many there were."""
    path = await context.state.get("path", [])
    node = context.app.config.node_id
    if not path or path[-1] != node:
        path.append(node)
        await context.state.set("path", path)
        await note(context.request, "hop", number=len(path))
    if len(path) < hops:
        await asyncio.sleep(0.02)
        raise Pause()
    return len(path)


@task(name="fixture.checkpoints")
async def checkpoints(context: Context, step=None):
    """Goes through every call of the state, one pause after each."""
    state = context.state
    done = await state.get("steps", [])
    if len(done) == 0:
        await state.set("text", 'caf\u00e9 "x"')
        await state.set("many", {"list": [1, 2.5, None, True], "none": None})
    elif len(done) == 1:
        done.append([await state.get("text"), await state.get("many"), await state.get("absent"), await state.get("absent", "default")])
    elif len(done) == 2:
        done.append([await state.pop("text"), await state.pop("text", "gone"), await state.get("text")])
    elif len(done) == 3:
        await state.clear()
        return {"done": done, "left": await state.get("many")}
    if len(done) == 0:
        done.append("set")
    await state.set("steps", done)
    raise Pause()


def tenant(context: Context, suffix: str):
    return f"tenant{suffix} of {context.request.name}"


class Prices(ClassService):
    made = 0

    def __init__(self, config):
        super().__init__(config)
        Prices.made += 1
        self.asked = 0

    def __call__(self, context, *args, **kwargs):
        self.asked += 1
        return self


@task(name="fixture.services")
async def services(context: Context):
    prices = context.get_service(Prices)
    again = context.get_service(Prices)
    return {"tenant": context.get_service(tenant, "!"), "one": prices is again, "settings": prices.config.node_id == context.app.config.node_id}
