"""Trees of requests."""

import asyncio

from mognet import Context, Request, task

from .record import note, running
from .tasks import slow


@task(name="fixture.spawn")
async def spawn(context: Context, count: int, seconds=0):
    """Runs `count` children at once and returns what they returned."""
    await note(context.request, "run")
    return await asyncio.gather(*[context.run(slow, seconds, number) for number in range(count)])


@task(name="fixture.tree")
async def tree(context: Context, depth: int, width: int = 1):
    """Runs a tree of itself and returns how many nodes it has."""
    await note(context.request, "run", stack=len(context.request.stack))
    if depth <= 1:
        return 1
    below = await asyncio.gather(*[context.run(tree, depth - 1, width) for _ in range(width)])
    return 1 + sum(below)


@task(name="fixture.one_by_one")
async def one_by_one(context: Context, count: int):
    """Runs its children one after the other."""
    return [await context.run(slow, 0, number) for number in range(count)]


@task(name="fixture.zigzag")
async def zigzag(context: Context, queues: list, seconds=0):
    """Runs itself on the first of the queues, and so on; the last one waits. Returns the depth."""
    if not queues:
        async with running(context.request):
            await asyncio.sleep(seconds)
        return 1
    await note(context.request, "run")
    return 1 + await context.run(Request(name="fixture.zigzag", args=(queues[1:], seconds), queue_name=queues[0]))


@task(name="fixture.submits")
async def submits(context: Context, count: int):
    """Submits children and does not wait for them."""
    for number in range(count):
        await context.submit(Request(name="fixture.echo", args=(number,)))
    return count


@task(name="fixture.gathers")
async def gathers(context: Context, count: int, fail_at: int = -1, return_exceptions: bool = False):
    """Submits children, then waits for all of them."""
    submitted = []
    for number in range(count):
        request = Request(name="fixture.fail", args=("child",)) if number == fail_at else Request(name="fixture.echo", args=(number,))
        submitted.append(await context.submit(request))
    values = await context.gather(*submitted, return_exceptions=return_exceptions)
    return [str(value) if isinstance(value, BaseException) else value for value in values]


@task(name="fixture.parent")
async def parent(context: Context, name: str, args: list, catch: bool = False, metadata: dict = {}, priority: int = 5):
    """Runs any request as its child."""
    try:
        return await context.run(Request(name=name, args=args, metadata=metadata, priority=priority))
    except Exception as error:
        if not catch:
            raise
        return f"caught {error}"
