"""client.py MEASURE N: prints `name value` lines; times in seconds."""

import sys
from time import perf_counter as now

from celery import chain, chord, group
from tasks import add, app, noop, square, total

MEMBERS = 1000  # of a large group or chord


def send(task, calls):
    """One connection for all; Celery has no call that sends many at once."""
    start = now()
    with app.producer_pool.acquire(block=True) as producer:
        for args in calls:
            task.apply_async(args, producer=producer)
    print("seconds", now() - start)


def rounds(count):
    times = []
    for i in range(count):
        start = now()
        total = add.delay(i, i).get(timeout=10)
        times.append(now() - start)
        if total != i + i:
            sys.exit(f"{i} + {i} is not {total}")
    for time in times:
        print("round", time)


def timed(name, count, due, run):
    """Prints how long each took."""
    for _ in range(count):
        start = now()
        value = run()
        print(name, now() - start)
        if value != due:
            sys.exit(f"{name}: {value} is not {due}")


def run_chain():
    return chain(add.s(4, 6), add.s(10), add.s(5))().get(timeout=60)


def run_chord(members):
    squares = [square.s(i) for i in range(1, members + 1)]
    return chord(squares)(total.s()).get(timeout=60)


def run_group():
    adds = [add.s(i, i) for i in range(1, MEMBERS + 1)]
    return sum(group(adds)().get(timeout=60))


def squares_to(n):
    return sum(i * i for i in range(1, n + 1))


measure, count = sys.argv[1], int(sys.argv[2])
with app.producer_pool.acquire(block=True) as producer:
    producer.connection.ensure_connection()
if measure == "noop":
    send(noop, [()] * count)
elif measure in ("add", "single"):
    send(add, [(i, i) for i in range(count)])
elif measure == "round":
    rounds(count)
elif measure == "chain":
    timed(measure, count, 25, run_chain)
elif measure == "chord":
    timed(measure, count, squares_to(10), lambda: run_chord(10))
elif measure == "largechord":
    timed(measure, count, squares_to(MEMBERS), lambda: run_chord(MEMBERS))
elif measure == "group":
    timed(measure, count, MEMBERS * (MEMBERS + 1), run_group)
