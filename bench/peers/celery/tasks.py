"""The tasks, for worker and client."""

import os

from celery import Celery

SOCKET = os.environ["BENCH_SOCKET"]

app = Celery(
    "tasks",
    broker=f"redis+socket://{SOCKET}",
    backend=f"redis+socket://{SOCKET}",
)
app.conf.update(
    task_acks_late=False,
    task_send_sent_event=False,
    worker_send_task_events=False,
    worker_prefetch_multiplier=int(os.environ["BENCH_PREFETCH"]),
    worker_hijack_root_logger=False,
)


@app.task
def noop():
    pass


@app.task
def add(x, y):
    return x + y


@app.task
def square(x):
    return x * x


@app.task
def total(values):
    return sum(values)
