"""Acts on Mognet's own result and state backends, one JSON line per act on stdin, one JSON answer per line on stdout.

python mognet_store.py <app> <redis url>. Each act is {"op": ..., "id": ...} and more; answers are {"ok": ...} or {"error": ...}.
"""

import asyncio
import json
import sys
from uuid import UUID

from mognet import App, AppConfig
from mognet.backend.redis_result_backend import RedisResultBackend
from mognet.model.result import Result
from mognet.state.redis_state_backend import RedisStateBackend

name, url = sys.argv[1:]
config = AppConfig.model_validate(
    {"broker": {"amqp": {}}, "result_backend": {"redis": {"url": url}}, "state_backend": {"redis": {"url": url}}}
)
app = App(name=name, config=config)
results = RedisResultBackend(config.result_backend, app)
states = RedisStateBackend(config.state_backend, app)


class Results:
    async def create(self, result, case):
        made = Result(results, id=result.id, name="py.task", **case.get("fields", {}))
        await results.set(made.id, made)

    async def start(self, result, case):
        await result.start(node_id="py-1")

    async def finish(self, result, case):
        await result.set_result(case["value"])

    async def fail(self, result, case):
        await result.set_error(ValueError(case["value"]))

    async def revoke(self, result, case):
        made = await results.get_or_create(result.id)
        await made.revoke()

    async def describe(self, result, case):
        return [str(result.state), result.number_of_starts, result.number_of_stops, result.node_id, str(result.created)]

    async def wait(self, result, case):
        await result.wait(timeout=20)
        return await self.describe(result, case)

    async def get(self, result, case):
        try:
            return repr(await result.get())
        except Exception as error:
            return f"{type(error).__module__}:{type(error).__name__}: {error}"

    async def children(self, result, case):
        return [await result.children.count(), sorted([str(each) async for each in result.children.iter_ids()])]

    async def metadata(self, result, case):
        return await result.get_metadata()

    async def state(self, result, case):
        if "value" in case:
            await states.set(result.id, case["key"], case["value"])
        return await states.get(result.id, case["key"], "absent")


async def act(case):
    result = await results.get(UUID(case["id"]))
    if result is None:
        result = Result(results, id=UUID(case["id"]))
    answer = await getattr(Results(), case["op"])(result, case)
    return answer


async def main():
    await results.connect()
    await states.connect()
    loop = asyncio.get_running_loop()
    print(json.dumps({"ok": "ready"}), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            print(json.dumps({"ok": await act(json.loads(line))}), flush=True)
        except Exception as error:  # whatever Python raises is the answer
            print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)


asyncio.run(main())
