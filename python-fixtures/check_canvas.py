"""What Celery makes of canvases: random and written ones, each applied or frozen in a process whose publishes are caught.

Prints one JSON line per case. `python check_canvas.py <seed> <count>`.
"""
import itertools
import json
import random
import sys
import warnings
from unittest import mock

from kombu.utils.json import dumps, loads

from celery import Celery, chain, chord, group, signature
from celery._state import _task_stack
from celery.backends.base import Backend
from celery.canvas import Signature, StampingVisitor, _chain, _chord
from celery.exceptions import Ignore

warnings.simplefilter("ignore")
events = []
numbers = itertools.count(1)


def fresh_id():
    return f"py-{next(numbers):06d}"


class NoWaiting(Backend):
    is_async = False

    def add_pending_result(self, result, weak=False):
        return result

    def remove_pending_result(self, result):
        return result


class CountingBackend(NoWaiting):
    """Remembers what a counting backend is told."""

    def set_chord_size(self, group_id, chord_size):
        events.append({"size": [group_id, chord_size]})

    def apply_chord(self, header_result_args, body, **kwargs):
        self.ensure_chords_allowed()
        result = self.app.GroupResult(*header_result_args)
        events.append({
            "chord": result.id,
            "body": plain(body),
            "header": [plain(r.as_tuple()) for r in result.results],
            "kwargs": plain(kwargs),
        })

    def add_to_chord(self, chord_id, result):
        events.append({"extended": [chord_id, result.id]})

    def get_state(self, task_id):
        return "PENDING"


class UnlockBackend(NoWaiting):
    def set_chord_size(self, group_id, chord_size):
        events.append({"size": [group_id, chord_size]})


def plain(value):
    return json.loads(dumps(value))


app = Celery("check", broker="memory://", backend="disabled://", set_as_current=True)
app.conf.update(task_allow_error_cb_on_chord_header=False, task_create_missing_queues=True)
app.backend  # made before it is replaced
counting, unlocking = CountingBackend(app=app), UnlockBackend(app=app)
app._local.backend = counting


@app.task(name="t.add")
def add(*args, **kwargs):
    return None


@app.task(name="t.mul")
def mul(*args, **kwargs):
    return None


@app.task(name="t.err")
def err(*args, **kwargs):
    return None


app.finalize()


def caught(P, name, message, **options):
    headers, properties, body, _ = message
    events.append({
        "message": name,
        "args": plain(body[0]),
        "kwargs": plain(body[1]),
        "embed": plain(body[2]),
        "headers": {key: plain(headers[key]) for key in (
            "id", "group", "group_index", "root_id", "parent_id", "retries", "replaced_task_nesting",
            "stamped_headers", "stamps", "shadow",
        )},
        "reply_to": properties["reply_to"],
    })


app.amqp.send_task_message = caught
real_send = app.send_task
SAID = ("countdown", "priority", "queue", "headers", "route_name", "add_to_parent", "exchange", "expires", "argsrepr")


def sending(name, args=None, kwargs=None, **options):
    result = real_send(name, args, kwargs, **options)
    events[-1]["options"] = {key: plain(options[key]) for key in SAID if options.get(key) is not None}
    return result


app.send_task = sending


patches = [
    mock.patch("celery.canvas.uuid", fresh_id),
    mock.patch("celery.app.base.uuid", fresh_id),
    mock.patch("kombu.utils.uuid.uuid", fresh_id),
    mock.patch.object(Celery, "thread_oid", "py-oid"),
]
for patch in patches:
    patch.start()


# ---- canvases ------------------------------------------------------------------------------------------------------

rng = random.Random()


def chance(p):
    return rng.random() < p


def leaf():
    task = rng.choice([add, mul])
    args = [rng.randint(0, 9) for _ in range(rng.randint(0, 2))]
    sig = task.si(*args) if chance(0.2) else task.s(*args, **({"k": rng.randint(0, 9)} if chance(0.2) else {}))
    if chance(0.15):
        sig.set(queue=f"q{rng.randint(0, 2)}")
    if chance(0.1):
        sig.set(countdown=rng.randint(1, 9))
    if chance(0.1):
        sig.set(priority=rng.randint(0, 9))
    if chance(0.05):
        sig.set(headers={"h": 1})
    if chance(0.05):
        sig.set(task_id=fresh_id())
    if chance(0.05):
        sig.set(stamped_headers=["st"], st=rng.choice(["v", ["a", "b"]]))
    return sig


def callback(depth):
    return leaf() if depth <= 0 or chance(0.7) else canvas(depth - 1)


def decorated(sig, depth):
    try:
        if chance(0.15):
            sig.link(callback(depth - 2))
        if chance(0.15):
            sig.link_error(err.s() if chance(0.7) else callback(depth - 2))
    except (IndexError, AttributeError, TypeError):
        pass
    if chance(0.08) and isinstance(sig, Signature):
        sig.set(**rng.choice([{"queue": "qq"}, {"priority": 3}, {"countdown": 4}, {"task_id": fresh_id()}, {"root_id": "root-x"},
                              {"headers": {"c": 2}}, {"interval": 7}, {"max_retries": 2}]))
    return sig


def members(depth, low, high):
    return [canvas(depth - 1) for _ in range(rng.randint(low, high))]


def canvas(depth):
    if depth <= 0 or chance(0.25):
        return decorated(leaf(), depth)
    kind = rng.randint(0, 6)
    empty = 0 if chance(0.12) else 1
    try:
        if kind == 0:
            return decorated(chain(*members(depth, empty, 4)), depth)
        if kind == 1:
            return decorated(_chain(members(depth, empty, 3)), depth)
        if kind == 2:
            return decorated(group(members(depth, empty, 3)), depth)
        if kind == 3:
            return decorated(group(*members(depth, empty, 3)), depth)
        if kind == 4:
            return decorated(chord(members(depth, empty, 3), canvas(depth - 1)), depth)
        if kind == 5:
            return decorated(chord(group(members(depth, empty, 3)), canvas(depth - 1)), depth)
        return decorated(canvas(depth - 1) | canvas(depth - 1), depth)
    except (IndexError, AttributeError, TypeError, KeyError, RuntimeError):
        return leaf()


def call_options():
    given = {"args": [], "kwargs": {}, "options": {}}
    if chance(0.3):
        given["args"] = [rng.randint(10, 19) for _ in range(rng.randint(1, 2))]
    if chance(0.15):
        given["kwargs"] = {"g": 1}
    options = given["options"]
    for key, p, value in (
        ("queue", 0.12, "given"), ("priority", 0.12, 5), ("countdown", 0.12, 6), ("task_id", 0.1, None), ("root_id", 0.08, "root-g"),
        ("parent_id", 0.08, "parent-g"), ("headers", 0.06, {"g": 1}), ("add_to_parent", 0.06, False), ("group_index", 0.05, 3),
        ("interval", 0.05, 9), ("max_retries", 0.05, 4), ("shadow", 0.05, "dark"), ("replaced_task_nesting", 0.05, 1),
    ):
        if chance(p):
            options[key] = fresh_id() if key == "task_id" else value
    if chance(0.08):
        options["link"] = callback(1) if chance(0.5) else [callback(1), leaf()]
    if chance(0.08):
        options["link_error"] = err.s() if chance(0.5) else [err.s(), leaf()]
    if chance(0.05):
        options["group_id"] = fresh_id()
        options["chord"] = add.s(100)
    if chance(0.05):
        options["chain"] = [mul.s(7), add.s(8)]
    return given


def written():
    """Shapes that must be there whatever the dice say."""
    a, b, c, d, e = (add.s(i) for i in range(1, 6))
    f = mul.s()
    yield "chain", chain(a, b, c)
    yield "group", group(a, b)
    yield "nested groups", group(a, group(b, c), d)
    yield "chord", chord([a, b], f)
    yield "chord of group", chord(group(a, b), f)
    yield "group then task", group(a, b) | f
    yield "group then task then task", group(a, b) | f | c
    yield "group then group", chain(group(a, b), group(c, d))
    yield "group then group then task", chain(group(a, b), group(c, d), f)
    yield "chain of chords", chain(chord([a, b], f), chord([c, d], f), e)
    yield "unfolded chain of chords", _chain([chord([a, b], f), c, chord([c, d], f), e])
    yield "unfolded groups", _chain([group(a, b), c, group(c, d), e])
    yield "chord in header", chord([chord([a, b], f), c], f)
    yield "chord in body", chord([a, b], chord([c, d], f))
    yield "chain in header", chord([a | b, c | d], f)
    yield "group at the end of a chain in a header", chord([a | group(b, c), d], f)
    yield "body is a chain", chord([a, b], chain(c, d, e))
    yield "body is an unfolded chain led by a group", chord([a, b], _chain([group(c, d), e]))
    yield "body is a group", chord([a, b], group(c, d))
    yield "body is a chain of chords", chord([a, b], chain(chord([c, d], f), e, chord([a, b], c), d))
    yield "empty group", group()
    yield "empty chain", _chain([])
    yield "empty header", chord([], f)
    yield "empty header, chain body", chord([], chain(f, a))
    yield "empty header, group body", chord([], group(f, a))
    yield "group of one", group([a])
    yield "chain of one", _chain([a])
    yield "chain of one group", _chain([group(a, b)])
    yield "chain of empty groups", _chain([group(), group(), _chain([])])
    yield "chain with empty groups", _chain([group(), a, group(), b, group()])
    yield "group of empty chains", group([_chain([]), _chain([])])
    yield "group of one chain ending in a group", group([_chain([a, group(b, c)])])
    yield "group of chords", group(chord([a, b], f), chord([c, d], f))
    yield "group of chains", group(a | b, c | d)
    yield "deep", chain(a, group(b, chain(c, group(d, e)), chord([a, b], chain(f, c))), d)
    yield "reversed nested header", chord([group(a, b), c, group(d, group(e, a))], f)
    yield "links", chain(a, b).set(link=[c], link_error=[err.s()])
    linked = chord([a, b], f)
    linked.link(c)
    linked.link_error(err.s())
    yield "chord with links", linked
    yield "chord with link options", chord([a, b], group(c, d)).set(link=[e], link_error=[err.s()])
    yield "map", add.map([1, 2])
    yield "starmap", add.starmap([(1, 2), (3, 4)])
    yield "chunks", add.chunks([(i, i) for i in range(5)], 2)
    yield "chain of chunks", chain(a, add.chunks([(i, i) for i in range(5)], 2))
    yield "long chain", _chain([add.s(i) for i in range(40)])
    yield "wide chord", chord([add.s(i) for i in range(40)], f)
    yield "immutable", chain(add.si(1), mul.si(2), group(add.si(3), add.s(4)), mul.si(5))
    for name, options in {
        "countdown": {"countdown": 5}, "queue": {"queue": "body"}, "priority": {"priority": 4}, "interval": {"interval": 3},
    }.items():
        yield f"chord with {name}", chord([a, b], f).set(**options)


# ---- running -------------------------------------------------------------------------------------------------------

def with_parent(act):
    """As if a worker were running a task: returns what was added to its children."""
    add.push_request(id="parent-id", root_id="parent-root", called_directly=False, children=[], delivery_info={})
    add.request._children = []
    _task_stack.push(add)
    try:
        act()
        return [plain(r.as_tuple()) for r in add.request.children]
    finally:
        _task_stack.pop()
        add.pop_request()


def revive(options, live):
    return options if live else {k: plain(v) for k, v in options.items()}


def apply_case(name, sig, given, live, inside, backend, on_header=False):
    events.clear()
    app.conf.task_allow_error_cb_on_chord_header = on_header
    app._local.backend = backend
    wire = plain(sig)
    line = {"op": "apply", "name": name, "live": live, "inside": inside, "signature": wire,
            "given": plain(given), "unlock": backend is unlocking, "on_header": on_header}
    target = sig if live else signature(plain(wire), app=app)
    got = {}

    def act():
        result = target.apply_async(tuple(given["args"]), dict(given["kwargs"]), **revive(given["options"], live))
        got["result"] = None if result is None else plain(result.as_tuple())

    try:
        if inside:
            line["children"] = with_parent(act)
        else:
            act()
        line.update(got)
    except Exception as exc:
        line["error"] = f"{type(exc).__name__}: {exc}"
    line["events"] = list(events)
    return line


def freeze_case(name, sig):
    wire = plain(sig)
    line = {"op": "freeze", "name": name, "signature": wire}
    target = signature(plain(wire), app=app)
    place = {"root_id": "root-f"} if chance(0.3) else {}
    if chance(0.3):
        place.update(group_id="group-f", group_index=2)
    if chance(0.3):
        place.update(_id="id-f")
    line["place"] = place
    try:
        line["result"] = plain(target.freeze(**place).as_tuple())
        line["frozen"] = plain(target)
    except Exception as exc:
        line["error"] = f"{type(exc).__name__}: {exc}"
    return line


def compose_case(name):
    """`|`, `chain()` and links, between signatures that were read from JSON."""
    kind = rng.choice(["or", "fold", "link", "link_error"])
    parts = [plain(canvas(rng.randint(0, 3))) for _ in range(rng.randint(1, 5) if kind == "fold" else 2)]
    app.conf.task_allow_error_cb_on_chord_header = on_header = kind == "link_error" and chance(0.4)
    line = {"op": kind, "name": name, "parts": parts, "signature": parts[0], "on_header": on_header}
    sigs = [live_signature(part) for part in parts]
    try:
        if kind == "or":
            answer = sigs[0] | sigs[1]
        elif kind == "fold":
            answer = chain(sigs)
        else:
            getattr(sigs[0], kind)(sigs[1])
            answer = sigs[0]
        line["answer"] = plain(answer)
    except Exception as exc:
        line["error"] = f"{type(exc).__name__}: {exc}"
    return line


def live_signature(wire):
    """With tuples and signature objects where a program that makes it has them."""
    sig = signature(plain(wire), app=app).clone()
    for key in ("link", "link_error"):
        if sig.options.get(key):
            sig.options[key] = [live_signature(one) for one in sig.options[key]]
    kwargs = sig.kwargs
    if sig.subtask_type in ("chain", "group"):
        kwargs["tasks"] = [live_signature(plain(one)) for one in wire["kwargs"]["tasks"]]
    elif sig.subtask_type == "chord":
        header = wire["kwargs"]["header"]
        kwargs["header"] = [live_signature(plain(one)) for one in (header if isinstance(header, list) else header["kwargs"]["tasks"])]
        kwargs["body"] = live_signature(plain(wire["kwargs"]["body"]))
    return sig


def told_apart(part):
    """Celery calls an errback twice that comes both from a request (a list of args) and from a program (a tuple)."""
    if isinstance(part, dict):
        return {key: [98] if key == "args" and part.get("task") == "t.err" else told_apart(value) for key, value in part.items()}
    return [told_apart(one) for one in part] if isinstance(part, list) else part


def request_fields():
    """A running task: where it stands in a chain, group and chord."""
    fields = {"id": "self-id", "root_id": "self-root", "called_directly": False, "delivery_info": {}, "callbacks": None,
              "errbacks": None, "chain": None, "chord": None, "group": None, "group_index": None, "replaced_task_nesting": 0}
    if chance(0.3):
        fields["callbacks"] = [plain(callback(1)) for _ in range(rng.randint(1, 2))]
    if chance(0.3):
        fields["errbacks"] = [plain(err.s(99))]
    if chance(0.5):
        try:
            rest = _chain([add.s(0), *[canvas(rng.randint(0, 2)) for _ in range(rng.randint(1, 4))]])
            tasks, _ = rest.prepare_steps((), {}, rest.tasks, None, None, None, app)
            fields["chain"] = told_apart(plain(tasks[:-1]))
        except Exception:
            pass
    if chance(0.4):
        body = add.s(77)
        body.freeze(group_id="self-group")
        fields.update(chord=plain(body), group="self-group", group_index=1)
    if chance(0.2):
        fields["replaced_task_nesting"] = 2
    return fields


def replace_case(name, what):
    app._local.backend = counting
    wire = plain(canvas(rng.randint(0, 3)))
    fields = request_fields()
    line = {"op": what, "name": name, "signature": wire, "request": plain(fields), "inside": True, "live": True}
    app.conf.task_allow_error_cb_on_chord_header = False
    sig = live_signature(wire)
    events.clear()
    add.push_request(**{k: plain(v) for k, v in fields.items() if k not in ("called_directly",)}, called_directly=False)
    add.request._children = []
    _task_stack.push(add)
    try:
        if what == "replace":
            try:
                add.replace(sig)
            except Ignore:
                pass
        else:
            line["result"] = plain(add.add_to_chord(sig).as_tuple())
        line["children"] = [plain(r.as_tuple()) for r in add.request.children]
    except Exception as exc:
        line["error"] = f"{type(exc).__name__}: {exc}"
    finally:
        _task_stack.pop()
        add.pop_request()
    line["events"] = list(events)
    return line


class Everything(StampingVisitor):
    """Says at each part which part it is, under one of the names given or all under one."""

    def __init__(self, parts, one_name):
        self.parts, self.one_name = parts, one_name
        self.calls = []

    def say(self, part, sig):
        # The end of a header that stayed a list is told with the list.
        self.calls.append(f"{part} {'celery.group' if isinstance(sig, list) else sig['task']}")
        return {"st" if self.one_name else f"st_{part}": part} if part in self.parts else None

    def on_signature(self, sig, **headers):
        return self.say("signature", sig)

    def on_group_start(self, group, **headers):
        return self.say("group", group)

    def on_chain_start(self, chain, **headers):
        return self.say("chain", chain)

    def on_group_end(self, group, **headers):
        self.say("group end", group)

    def on_chain_end(self, chain, **headers):
        self.say("chain end", chain)

    def on_chord_body(self, sig, **headers):
        return self.say("body", sig)

    def on_callback(self, callback, **headers):
        return self.say("callback", callback)

    def on_errback(self, errback, **headers):
        return self.say("errback", errback)


class HeaderToo(Everything):
    def on_chord_header_start(self, sig, **headers):
        return self.say("header", sig)


PARTS = ["signature", "group", "chain", "body", "callback", "errback", "header"]


def without_stamp_lists(part):
    """Lists of stamps slip to siblings in Celery: they would be compared with an accident."""
    if isinstance(part, dict):
        return {key: "v" if key == "st" else without_stamp_lists(value) for key, value in part.items()}
    return [without_stamp_lists(one) for one in part] if isinstance(part, list) else part


def stamp_case(name):
    wire = without_stamp_lists(plain(canvas(rng.randint(0, 3))))
    parts = [part for part in PARTS if chance(0.5)]
    one_name, append, visits, header = chance(0.3), chance(0.3), chance(0.85), chance(0.3)
    stamps = {"given": "g"} if chance(0.4) else {}
    line = {"op": "stamp", "name": name, "signature": wire, "parts": parts, "one_name": one_name, "append": append,
            "visits": visits, "header": header, "stamps": stamps}
    sig = live_signature(wire)
    visitor = (HeaderToo if header else Everything)(parts, one_name)
    try:
        sig.stamp(visitor if visits else None, append, **stamps)
        line["answer"] = [plain(sig), visitor.calls]
    except Exception as exc:
        line["error"] = f"{type(exc).__name__}: {exc}"
    return line


def main(seed, count):
    rng.seed(seed)
    for name, sig in written():
        wire = plain(sig)
        for live in (False, True):
            for inside in (False, True):
                again = signature(plain(wire), app=app) if not live else next(s for n, s in written() if n == name)
                yield apply_case(name, again, {"args": [], "kwargs": {}, "options": {}}, live, inside, counting)
        yield apply_case(name, signature(plain(wire), app=app), {"args": [50], "kwargs": {}, "options": {}}, False, True, counting)
        yield apply_case(name, signature(plain(wire), app=app), {"args": [], "kwargs": {}, "options": {}}, False, False, unlocking)
        yield freeze_case(name, signature(plain(wire), app=app))
    for number in range(count // 3):
        yield compose_case(f"composed {number}")
        yield stamp_case(f"stamped {number}")
        yield replace_case(f"replaced {number}", "replace" if chance(0.7) else "add_to_chord")
    for number in range(count):
        sig = canvas(rng.randint(1, 4))
        kind = rng.randint(0, 9)
        given = call_options()
        if kind == 0:
            yield freeze_case(f"random {number}", sig)
            continue
        if kind == 1:
            try:
                sig.freeze()
            except Exception:
                continue
        yield apply_case(f"random {number}", sig, given, kind >= 8, chance(0.5), unlocking if chance(0.15) else counting,
                         chance(0.2))


if __name__ == "__main__":
    for line in main(int(sys.argv[1]), int(sys.argv[2])):
        print(dumps(line))
