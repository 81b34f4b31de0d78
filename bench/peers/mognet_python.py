"""Mognet's own client and worker with its defaults. One job as JSON in argv[1]: `mode` is `work` or `client`."""

import asyncio
import json
import signal
import sys
import time

from mognet import App, AppConfig, Context, Request, task

job = json.loads(sys.argv[1])
redis = {"redis": {"url": job["backend"]}}
app = App(
    name=job["app"],
    config=AppConfig.model_validate(
        {
            "broker": {"amqp": {"url": job["broker"]}},
            "result_backend": redis,
            "state_backend": redis,
            "minimum_concurrency": job["concurrency"],
        }
    ),
)


@task(name="bench.add")
async def add(context: Context, x: int, y: int):
    return x + y


def say(message):
    print(json.dumps(message), flush=True)


async def call():
    value = await app.run(Request(name="bench.add", args=(2, 3)))
    assert value == 5, value


async def rate(count):
    left = iter(range(count))

    async def lane():
        for _ in left:
            await call()

    start = time.perf_counter()
    await asyncio.gather(*[lane() for _ in range(job["inFlight"])])
    return count / (time.perf_counter() - start)


async def round_trips(count):
    samples = []
    for _ in range(count):
        start = time.perf_counter()
        await call()
        samples.append((time.perf_counter() - start) * 1000)
    return samples


async def work():
    async with app:
        running = asyncio.create_task(app.start())
        while app.worker is None:
            await asyncio.sleep(0.01)
        say({"ready": True})
        ended = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, ended.set)
        await ended.wait()
        await app.close()
        await running


async def client():
    async with app:
        await rate(job["warmUp"])
        say({"warm": True})
        say({"perSecond": await rate(job["tasks"])})
        say({"samples": await round_trips(job["calls"])})


asyncio.run(work() if job["mode"] == "work" else client())
