"""Mognet's own command line, which says `lovage: consuming` once all its queues, the control queue too, are consumed.

    python mognet_worker.py --log-level INFO mognet_app.app run

Mognet logs `Start consuming` before it does, and of the control queue nothing at all: a test that revokes right away needs more.

With LOVAGE_KEEP_PAUSED=1 it also loses no paused task. Mognet 2.0.0 does: when the message comes back to the same worker before the
first run has been cleared away, the first run's end takes the second run off the list of running tasks, and its outcome is dropped.

With LOVAGE_KEEP_CONNECTIONS=1 its connections to Redis outlive a revoke. Mognet 2.0.0 awaits the shielded execution of a pipeline:
when the task is cancelled there, the pipeline is left, and its connection handed on, while the execution still reads from it. Whoever
gets it next fails ("another coroutine is already waiting", "Connection closed by server"), at times the control queue's consumer and
with it the process, at times the very revoke, which is then only logged.
"""

import asyncio
import logging
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from aio_pika.queue import Queue
from mognet import App
from mognet.cli.main import main
from mognet.worker.worker import Worker
from redis.asyncio.client import Pipeline

log = logging.getLogger("lovage")
consume, init = Queue.consume, App.__init__
made, consumed = [], set()


def remember(self, **options):
    init(self, **options)
    made.append(self)


async def consume_and_tell(self, *args, **options):
    tag = await consume(self, *args, **options)
    consumed.add(self.name)
    for app in made:
        wanted = {f"{app.name}.{name}" for name in app.get_task_queue_names()}
        wanted.add(f"{app.name}.mognet.control.{app.config.node_id}")
        if wanted <= consumed:
            log.info("lovage: consuming %s", ", ".join(sorted(wanted)))
    return tag


remove = Worker._remove_running_task


def remove_own(self, request_id):
    """At the end of a run: the run on the list may be a later one of the same request."""
    holder = self.running_tasks.get(request_id)
    at_end = sys._getframe(1).f_code.co_name == "on_processing_done"
    if at_end and holder is not None and holder._task is not None and not holder._task.done():
        return None
    return remove(self, request_id)


execute, leave = Pipeline.execute, Pipeline.__aexit__


def execute_noted(self, *args, **options):
    """Begun at once, so that who leaves the pipeline knows of it."""
    self._lovage_execution = asyncio.ensure_future(execute(self, *args, **options))
    return self._lovage_execution


async def leave_after_execution(self, *error):
    """The connection is handed on when the answer has been read from it."""
    execution = getattr(self, "_lovage_execution", None)
    cancelled = None
    while execution is not None and not execution.done():
        try:
            await asyncio.wait([execution])
        except asyncio.CancelledError as again:
            cancelled = again
    await leave(self, *error)
    if cancelled is not None:
        raise cancelled


App.__init__ = remember
Queue.consume = consume_and_tell
if os.environ.get("LOVAGE_KEEP_PAUSED"):
    Worker._remove_running_task = remove_own
if os.environ.get("LOVAGE_KEEP_CONNECTIONS"):
    Pipeline.execute, Pipeline.__aexit__ = execute_noted, leave_after_execution

if __name__ == "__main__":
    sys.argv[0] = "mognet"
    sys.exit(main())
