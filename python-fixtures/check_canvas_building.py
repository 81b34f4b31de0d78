"""Random expressions that build signatures, and the JSON that Celery makes of each, one case per line.

Usage: check_canvas_building.py SEED COUNT
"""

import json
import random
import sys
import warnings

from celery import Celery, chain, chord, group
from celery.canvas import Signature, StampingVisitor
from kombu.utils.json import dumps, loads

warnings.simplefilter("ignore")
app = Celery("building", broker="memory://", backend="cache+memory://")
app.set_default()


@app.task(name="add")
def add(x, y):
    return x + y


@app.task(name="total")
def total(numbers):
    return sum(numbers)


TASKS = {"add": add, "total": total}


class Visitor(StampingVisitor):
    """Marks every kind of part; without headers of its own a chord's is visited as a group."""

    def on_signature(self, sig, **headers):
        return {"sig": sig.task, "count": 1}

    def on_group_start(self, group, **headers):
        return {"in_group": len(group.tasks)}

    def on_chain_start(self, chain, **headers):
        return {"in_chain": True, "plain": 3, "stamped_headers": ["in_chain"]}

    def on_chord_body(self, sig, **headers):
        return {"body": "b"}

    def on_callback(self, callback, **headers):
        return {"callback": callback.task}

    def on_errback(self, errback, **headers):
        return {"errback": errback.task}


def expression(rng, depth):
    if depth <= 0 or rng.random() < 0.2:
        kind = rng.random()
        if kind < 0.85:
            options = rng.choice([{}, {}, {"queue": "q"}, {"countdown": 3, "priority": 1}])
            kwargs = rng.choice([{}, {}, {"k": 1}])
            return ["s", rng.choice(list(TASKS)), [rng.randrange(9) for _ in range(rng.randrange(3))], kwargs, options, rng.random() < 0.15]
        items = [[rng.randrange(5), rng.randrange(5)] for _ in range(rng.randrange(4))]
        return rng.choice([["map", "total", items], ["starmap", "add", items], ["chunks", "add", items, rng.randrange(1, 3)]])
    below = lambda: expression(rng, depth - 1)  # noqa: E731
    some = lambda least: [below() for _ in range(rng.randrange(least, 4))]  # noqa: E731
    op = rng.choice(["chain", "chain", "chain1", "group", "group", "group1", "chord", "chordOf", "pipe", "pipe", "pipe", "link", "linkError", "set", "immutable", "clone", "stamp", "visit"])
    if op in ("chain", "group"):
        return [op, some(0)]
    if op in ("chain1", "group1"):
        return [op, below()]
    if op == "chord":
        return [op, some(1), below()]
    if op in ("chordOf", "pipe", "link", "linkError"):
        return [op, below(), below()]
    if op == "set":
        return [op, below(), rng.choice([{"queue": "other"}, {"countdown": 9}, {"priority": 4}])]
    if op == "immutable":
        # Copies of a chain forget that it is immutable.
        leaves = [expression(rng, 0) for _ in range(2)]
        return [op, rng.choice([leaves[0], ["group", leaves], ["chord", leaves[:1], leaves[1]]]), rng.random() < 0.7]
    if op == "clone":
        # What Celery's clone of a chain or group forgets is left out.
        task = expression(rng, 0)
        return [op, task, rng.choice([[], [7]]), rng.choice([{}, {"z": 1}]), rng.choice([{}, {"countdown": 1}])]
    # No lists: Celery lets those of one part grow in its neighbours.
    stamps = rng.choice([{}, {"tenant": "a"}, {"tenant": "b", "id": 1}, {"sig": "given"}])
    return [op, below(), stamps, rng.random() < 0.3]


def build(e):
    op, *rest = e
    if op == "s":
        name, args, kwargs, options, immutable = rest
        return TASKS[name].signature(args=tuple(args), kwargs=dict(kwargs), options=dict(options), immutable=immutable)
    if op == "map":
        return TASKS[rest[0]].map(rest[1])
    if op == "starmap":
        return TASKS[rest[0]].starmap(rest[1])
    if op == "chunks":
        return TASKS[rest[0]].chunks(rest[1], rest[2])
    if op == "chain":
        return chain([build(one) for one in rest[0]])
    if op == "chain1":
        return chain(build(rest[0]))
    if op == "group":
        return group([build(one) for one in rest[0]])
    if op == "group1":
        return group(build(rest[0]))
    if op == "chord":
        return chord([build(one) for one in rest[0]], build(rest[1]))
    first = build(rest[0])
    if op == "chordOf":
        return chord(first, build(rest[1]))
    if op == "pipe":
        return first | build(rest[1])
    if op == "link":
        first.link(build(rest[1]))
        return first
    if op == "linkError":
        first.link_error(build(rest[1]))
        return first
    if op == "set":
        return first.set(**rest[1])
    if op == "immutable":
        return first.set(immutable=rest[1])
    if op == "clone":
        return first.clone(args=tuple(rest[1]), kwargs=dict(rest[2]), **rest[3])
    visitor = Visitor() if op == "visit" else None
    first.stamp(visitor, rest[2], **rest[1])
    return first


def main(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        made = expression(rng, rng.randrange(1, 4))
        try:
            signature = build(made)
            # Sent and read again, as any worker would have it.
            answer = {"text": dumps(signature)}
            Signature.from_dict(loads(answer["text"]))
        except Exception as error:  # whatever Celery refuses
            answer = {"error": repr(error)}
        print(json.dumps({"made": made, **answer}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
