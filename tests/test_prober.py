"""One probe at a time against real sockets that behave badly."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from masuka_magic.events import Answer
from masuka_magic.prober import BODY_LIMIT, Prober


@contextmanager
def server(talk: Callable[[socket.socket, threading.Event], None]) -> Iterator[int]:
    """Accept connections on a port of our own and let `talk` answer each, until the end."""
    done = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(4096)
                try:
                    talk(connection, done)
                except OSError:
                    continue  # the prober hung up, which is what most of these tests want

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        done.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def probe(port: int, *, limit_s: float | None = None) -> Answer:
    """Ask once; after `limit_s` the probe is aborted, as the supervisor does."""
    answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
    prober = Prober(f"http://127.0.0.1:{port}/health", 5.0, answers.put)
    try:
        prober.ask()
        if limit_s is not None:
            timer = threading.Timer(limit_s, prober.abort)
            timer.start()
        return answers.get(timeout=30)
    finally:
        prober.close()


def test_an_answer_is_read_with_name_and_version() -> None:
    """The body of a 200 says who answers."""
    body = b'{"app": "MASUKA V2", "version": "2.0.0"}'
    with server(
        lambda c, _: c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    ) as port:
        answer = probe(port)
    assert (answer.status, answer.name, answer.version, answer.listening) == (200, "MASUKA V2", "2.0.0", True)


def test_a_refused_connection_is_no_listener(free_port: int) -> None:
    """Nobody listens: said in two words, and not taken for a listener."""
    answer = probe(free_port)
    assert (answer.status, answer.error, answer.listening) == (None, "connection refused", False)


def drip(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not done.wait(0.05):
        connection.sendall(b"x")


def test_a_header_that_drips_is_cut_off_from_outside() -> None:
    """Requests' own limit is per read and would wait for ever; abort ends the probe at once."""
    with server(drip) as port:
        began = time.monotonic()
        answer = probe(port, limit_s=0.5)
    assert (answer.status, answer.error, answer.listening) == (None, "no complete answer within 5 s", True)
    assert time.monotonic() - began < 5


def flood(connection: socket.socket, done: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while not done.is_set():
        connection.sendall(b"x" * 65536)


def test_a_body_without_end_is_read_to_a_limit() -> None:
    """A health endpoint that streams for ever is an answer all the same, and costs a bounded amount of memory."""
    with server(flood) as port:
        answer = probe(port)
    assert (answer.status, len(answer.body)) == (200, BODY_LIMIT)


@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", b"220 smtp.example ESMTP\r\n"],
    ids=["nothing", "half", "another protocol"],
)
def test_what_is_no_answer_is_said_in_few_words(sent: bytes) -> None:
    """A half answer or another protocol is not HTTP's 200."""
    with server(lambda c, _: c.sendall(sent)) as port:
        answer = probe(port)
    assert (answer.status, answer.error, answer.listening) == (
        None,
        "the connection was closed before an answer",
        True,
    )


def test_a_redirect_is_not_followed() -> None:
    """Where it points is told; nobody goes there."""
    with server(
        lambda c, _: c.sendall(b"HTTP/1.1 307 x\r\nLocation: /health/\r\nContent-Length: 0\r\n\r\n")
    ) as port:
        answer = probe(port)
    assert (answer.status, answer.location) == (307, "/health/")


def test_proxies_of_the_environment_have_no_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY must not see, nor answer, a question to our own child."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with server(lambda c, _: c.sendall(b"HTTP/1.1 204 x\r\n\r\n")) as port:
        assert probe(port).status == 204
