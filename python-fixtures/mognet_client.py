"""A long-lived Python client driven by JSON lines, so that a test can use real Mognet without starting an interpreter per case.

    python mognet_client.py mognet_app.app

One request a line on stdin: `{"id": 1, "op": "submit", ...}`; one answer a line on stdout: `{"id": 1, "ok": value}` or
`{"id": 1, "error": {...}}`. Requests are served side by side on one event loop, so answers come in any order.
"""

import ast
import asyncio
import faulthandler
import importlib
import inspect
import json
import os
import signal
import sys
import threading
import traceback
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mognet
from mognet import Request
from mognet.broker.base_broker import MessagePayload
from mognet.primitives.queries import QueryRequestMessage
from pydantic_core import to_jsonable_python

app = None


def describe_error(error):
    return {
        "type": type(error).__name__,
        "module": type(error).__module__,
        "bases": [cls.__name__ for cls in type(error).__mro__[1:-1]],
        "message": str(error),
        "repr": repr(error),
        "args": [repr(arg) for arg in getattr(error, "args", ())],
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def describe_value(value):
    """What Python holds: `value` as JSON (null where it has no form), its `repr`, and its class as Mognet names classes."""
    seen = {"value": None, "repr": repr(value), "type": f"{type(value).__module__}:{type(value).__name__}"}
    try:
        plain = to_jsonable_python(value)
        json.dumps(plain, allow_nan=False)
        seen["value"] = plain
    except Exception:
        pass
    return seen


async def find(result_id):
    result = await app.result_backend.get(uuid.UUID(result_id))
    if result is None:
        raise LookupError(f"no result {result_id}")
    return result


def fields_of(result):
    fields = json.loads(result.model_dump_json())
    return {**fields, "done": result.done, "unexpected_retry_count": result.unexpected_retry_count}


async def op_versions():
    return {"python": sys.version.split()[0], "app": app.name, "node": app.config.node_id, "pid": os.getpid()}


async def op_submit(request):
    """`request` has the fields of Mognet's Request; `args` and `kwargs` are taken as they are."""
    return str((await app.submit(Request(**request))).id)


async def op_get(result_id, timeout):
    """What awaiting the result gives: `{state, value, ...}`, or `{state, raised}` when it raises; `late` when the wait ended first."""
    result = await find(result_id)
    try:
        await result.wait(timeout=timeout, poll=0.05)
    except asyncio.TimeoutError as error:
        return {"state": (await find(result_id)).state.value, "late": True, "raised": describe_error(error)}
    except Exception as error:
        return {"state": result.state.value, "raised": describe_error(error)}
    try:
        value = await result.get()
    except Exception as error:
        return {"state": result.state.value, "raised": describe_error(error)}
    return {"state": result.state.value, **describe_value(value)}


async def op_result(result_id):
    """All that can be read about a request without waiting; null when there is no result."""
    result = await app.result_backend.get(uuid.UUID(result_id))
    if result is None:
        return None
    return {
        **fields_of(result),
        "children": sorted([str(child) async for child in result.children.iter_ids()]),
        "metadata": await result.get_metadata(),
    }


async def op_value(result_id):
    """The value without the raising; an exception is described as Mognet stores it."""
    holder = await (await find(result_id)).value.get_value_holder()
    return {"value_type": holder.value_type, "raw_value": holder.raw_value}


def tree_of(node):
    return {"result": fields_of(node.result), "children": [tree_of(child) for child in node.children]}


async def op_tree(result_id, max_depth, max_width):
    return tree_of(await (await find(result_id)).tree(max_depth=max_depth, max_width=max_width))


async def op_revoke(result_id, force):
    return fields_of(await app.revoke(uuid.UUID(result_id), force=force))


async def op_set_metadata(result_id, values):
    await (await find(result_id)).set_metadata(**values)


async def op_delete(result_id, include_children):
    await (await find(result_id)).delete(include_children=include_children)


async def op_queue(queue):
    stats = await app.broker.task_queue_stats(queue)
    return {"messages": stats.message_count, "consumers": stats.consumer_count}


async def op_purge():
    return await app.purge_task_queues()


async def op_status(timeout, nodes):
    """Asks all nodes and answers with the replies that came in time. Mognet's own method cannot read them under pydantic 2."""
    query = QueryRequestMessage(name="Status")
    payload = MessagePayload(id=str(query.id), kind="Query", payload=query.model_dump())
    replies = []

    async def listen():
        stream = app.broker.send_query_message(payload)
        try:
            async for reply in stream:
                replies.append(json.loads(reply.model_dump_json()))
                if nodes and len(replies) >= nodes:
                    return
        finally:
            await stream.aclose()

    try:
        await asyncio.wait_for(listen(), timeout)
    except asyncio.TimeoutError:
        pass
    return replies


async def op_run(source, variables):
    """Runs Python text, which may await, with `app`, `mognet` and the given variables; answers what it leaves in `answer`."""
    space = {"app": app, "mognet": mognet, "asyncio": asyncio, "uuid": uuid, "Request": Request, **variables}
    code = compile(source, "<run>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    made = eval(code, space)
    if inspect.isawaitable(made):
        await made
    return to_jsonable_python(space.get("answer"), fallback=repr)


operations = {name[3:]: function for name, function in globals().items() if name.startswith("op_")}


async def serve(request, answer):
    number = request.pop("id")
    try:
        request.pop("app", None)
        answer(json.dumps({"id": number, "ok": await operations[request.pop("op")](**request)}, allow_nan=False))
    except BaseException as error:
        answer(json.dumps({"id": number, "error": describe_error(error)}))


async def main(pointer, out):
    global app
    module, _, name = pointer.partition(":")
    app = getattr(importlib.import_module(module), name or "app")
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()

    def read():
        for line in iter(sys.stdin.readline, ""):
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(lines.put_nowait, None)

    def answer(text):
        out.write(text + "\n")
        out.flush()

    app._loop = loop
    running = set()
    async with app:
        answer(json.dumps({"id": 0, "ok": await op_versions()}))
        threading.Thread(target=read, daemon=True).start()
        while (line := await lines.get()) is not None:
            task = asyncio.create_task(serve(json.loads(line), answer))
            running.add(task)
            task.add_done_callback(running.discard)


if __name__ == "__main__":
    # Whatever prints to stdout must not mix with the answers.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    faulthandler.register(signal.SIGUSR2, all_threads=True)
    asyncio.run(main(sys.argv[1], out))
