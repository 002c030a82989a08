"""client.py MEASURE N: prints `name value` lines; times in seconds."""

import sys
from time import perf_counter as now

from tasks import add, app, noop


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


measure, count = sys.argv[1], int(sys.argv[2])
with app.producer_pool.acquire(block=True) as producer:
    producer.connection.ensure_connection()
if measure == "noop":
    send(noop, [()] * count)
elif measure in ("add", "single"):
    send(add, [(i, i) for i in range(count)])
elif measure == "round":
    rounds(count)
