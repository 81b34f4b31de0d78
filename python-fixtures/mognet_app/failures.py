"""Errors of each kind."""

import asyncio

from mognet import Context, task

from .models import Item, ShopError, Unpicklable
from .record import note


def caused():
    try:
        raise KeyError("inner")
    except KeyError as error:
        raise RuntimeError("outer") from error


def make_item():
    return Item(sku=None, price="none")


errors = {
    "value": lambda: ValueError("no such value"),
    "key": lambda: KeyError("missing"),
    "no message": lambda: RuntimeError(),
    "unicode": lambda: ValueError("caf\u00e9 \u6f22\U0001f600\n'\""),
    "custom": lambda: ShopError("E1", "sold out"),
    "unpicklable": lambda: Unpicklable("held"),
    "timeout": lambda: asyncio.TimeoutError("mine"),
    "many arguments": lambda: ValueError(1, "two", None),
}


@task(name="fixture.fail")
async def fail(context: Context, message: str):
    await note(context.request, "run")
    raise ValueError(message)


@task(name="fixture.sync_fail")
def sync_fail(context: Context, message: str):
    raise ValueError(message)


@task(name="fixture.raise")
async def raise_kind(context: Context, kind: str):
    if kind == "caused":
        caused()
    if kind == "validation inside":
        make_item()
    raise errors[kind]()
