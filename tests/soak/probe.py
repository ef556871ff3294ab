"""
A client that asks at an interval and tells how long the answers took.

A program of its own, so that nothing else that is under way is measured with it:
C{python probe.py KIND PORT SOURCE INTERVAL SECONDS}.  It ends by itself, or when its standard
input does, and prints one line of JSON, with times in milliseconds.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import socket
import ssl
import sys
import time
from collections import Counter

PATIENCE = 10.0
"""Seconds that a stream's answer may take."""

LOST_AFTER = 0.2
"""Seconds after which a datagram counts as lost."""

QUESTION = b"0123456789abcdef"


def isOver(end: float) -> bool:
    """The time is over, or nobody wants to know any more."""
    if time.monotonic() >= end:
        return True
    ready, _, _ = select.select([0], [], [], 0)
    return bool(ready) and not os.read(0, 100)


def connect(kind: str, port: int, source: str) -> socket.socket:
    """Connect a stream."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if kind != "tls":
        return client
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(client)


def ask(client: socket.socket) -> None:
    """Send a question, and wait for its echo."""
    client.sendall(QUESTION)
    got = 0
    while got < len(QUESTION):
        piece = client.recv(4096)
        if not piece:
            raise ConnectionError("it was closed")
        got += len(piece)


def ready() -> None:
    """Tell that it begins."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


class Asked:
    """What came of it."""

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self.asked = 0
        self.times: list[float] = []
        self.failures: Counter[str] = Counter()

    def answered(self, took: float) -> None:
        """An answer came; those who would have asked meanwhile waited as well."""
        while took > 0:
            self.times.append(took * 1000)
            took -= self.interval

    def report(self) -> str:
        """One line."""
        times = sorted(self.times) or [0.0]

        def share(part: float) -> float:
            return round(times[int(part * (len(times) - 1))], 3)

        return json.dumps(
            {
                "asked": self.asked,
                "failed": self.failures.total(),
                "failures": dict(self.failures),
                "p50": share(0.5),
                "p99": share(0.99),
                "p999": share(0.999),
                "worst": share(1.0),
            }
        )


def askStreams(kind: str, port: int, source: str, end: float, asked: Asked) -> None:
    """Over one connection, or each time over another."""
    client = None if kind == "connect" else connect(kind, port, source)
    ready()
    due = time.monotonic()
    while not isOver(end):
        asked.asked += 1
        began = time.monotonic()
        try:
            if client is None:
                client = connect(kind, port, source)
                if kind != "connect":
                    # To connect is not what is measured.
                    began = time.monotonic()
            ask(client)
            asked.answered(time.monotonic() - began)
        except (OSError, ValueError) as error:
            asked.failures[f"{type(error).__name__}: {error}"] += 1
            if client is not None:
                client.close()
            client = None
        if kind == "connect" and client is not None:
            client.close()
            client = None
        due = max(due + asked.interval, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))
    if client is not None:
        client.close()


def askDatagrams(port: int, source: str, end: float, asked: Asked) -> None:
    """Of UDP."""
    ready()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
        client.setblocking(False)
        waiting: dict[bytes, float] = {}
        due = time.monotonic()
        while waiting or not isOver(end):
            now = time.monotonic()
            if now >= due and now < end:
                due += asked.interval
                asked.asked += 1
                question = b"%d" % asked.asked
                waiting[question] = now
                with contextlib.suppress(OSError):
                    client.send(question)
            if select.select([client], [], [], asked.interval / 5)[0]:
                with contextlib.suppress(OSError):
                    began = waiting.pop(client.recv(100), None)
                    if began is not None:
                        asked.times.append((time.monotonic() - began) * 1000)
            for question in [q for q, at in waiting.items() if now - at > LOST_AFTER]:
                del waiting[question]
                asked.failures["no answer"] += 1


def main(kind: str, port: str, source: str, interval: str, seconds: str) -> None:
    """Ask until the end, and report."""
    # It has to run at once when an answer is there: the server is measured, not the queue.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    gc.disable()
    # From here on: to start an interpreter may take long on a busy machine.
    end = time.monotonic() + float(seconds)
    asked = Asked(float(interval))
    if kind == "udp":
        askDatagrams(int(port), source, end, asked)
    else:
        askStreams(kind, int(port), source, end, asked)
    sys.stdout.write(asked.report() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
