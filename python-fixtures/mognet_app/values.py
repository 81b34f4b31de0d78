"""Values of every type: what Python returns, and what it makes of arguments with annotations."""

from dataclasses import asdict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import List, Set, Tuple
from uuid import UUID

from mognet import Context, task

from .models import Color, Item, Order, Point

identity = UUID("8f6f9f7e-2f0d-4b7e-9d52-0a4c5d0f7a11")
placed = datetime(2024, 1, 31, 12, 30, 45, 678900, tzinfo=timezone.utc)
order = Order(id=identity, items=[Item(sku="a", count=2, price=Decimal("1.10")), Item(sku="b", price=Decimal("3"))], placed=placed)

values = {
    "none": None,
    "true": True,
    "int": 7,
    "negative": -3,
    "beyond 2^53": 2**60 + 1,
    "beyond 2^64": 10**30,
    "float": 2.5,
    "whole float": 3.0,
    "tiny float": 5e-324,
    "nan": float("nan"),
    "infinity": float("inf"),
    "text": "plain",
    "empty text": "",
    "unicode": 'caf\u00e9 \u6f22\u5b57 \U0001f600 "quoted" \\ \n\t\u0001',
    "long text": "x" * 200_000,
    "list": [1, "two", None, [3.5]],
    "tuple": (1, 2),
    "set": {4},
    "frozenset": frozenset([5]),
    "dict": {"a": 1, "b": {"c": [True]}},
    "dict with int keys": {1: "one"},
    "bytes": b"abc",
    "uuid": identity,
    "datetime": placed,
    "naive datetime": placed.replace(tzinfo=None),
    "date": date(2024, 2, 29),
    "time": time(12, 30),
    "timedelta": timedelta(minutes=1, milliseconds=500),
    "decimal": Decimal("1.10"),
    "enum": Color.RED,
    "dataclass": Point(1, 2.5),
    "model": order,
    "list of models": order.items,
    "dict of rich values": {"at": placed, "id": identity, "price": Decimal("0.5")},
    "bytes that are no text": b"\xff\xfe",
    "no form in JSON": object(),
    "complex": 1 + 2j,
}


@task(name="fixture.value")
async def value(context: Context, kind: str):
    return values[kind]


@task(name="fixture.order_total")
async def order_total(context: Context, order: Order):
    return str(sum(item.count * item.price for item in order.items))


@task(name="fixture.order_echo")
async def order_echo(context: Context, order: Order):
    return order


@task(name="fixture.typed")
async def typed(
    context: Context,
    number: int,
    ratio: float,
    text: str,
    flag: bool,
    when: datetime,
    gap: timedelta,
    id: UUID,
    price: Decimal,
    color: Color,
    tags: Set[str],
    pair: Tuple[int, str],
    point: Point,
    items: List[Item],
):
    """Says what Python made of the arguments."""
    given = {key: given for key, given in locals().items() if key != "context"}
    return {**{key: repr(given) for key, given in given.items()}, "tags": sorted(tags), "point": asdict(point)}
