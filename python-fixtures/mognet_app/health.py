"""Ends with code 0 when a worker answers a task in time. `mognet nodes status` cannot tell: it ends with 0 in any case."""

import asyncio

from mognet import Request

from .app import app


async def main():
    async with app:
        assert await asyncio.wait_for(app.run(Request(name="fixture.add", args=(1, 2))), timeout=10) == 3


asyncio.run(main())
