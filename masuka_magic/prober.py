"""Asks the backend over HTTP, one probe at a time, in a thread of its own.

requests limits each read, not the whole answer: a header that drips byte by byte would hold a probe for ever.
So the supervisor, which keeps the time, calls `abort`, and the connection is closed under the reader.
This room does not know what an answer means.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from masuka_magic.events import Answer
from masuka_magic.readiness import read_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

#: An answer is read no further than this: a health endpoint may stream for ever.
BODY_LIMIT = 64 * 1024


class Prober:
    """A thread that imports requests at once, while the backend starts, and then probes when asked.

    `deliver` is called from that thread with each Answer; it must not block.
    """

    def __init__(self, url: str, timeout_s: float, deliver: Callable[[Answer], None]) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._deliver = deliver
        self._asked: queue.SimpleQueue[Literal["probe", "end"]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._aborted = False
        self._thread = threading.Thread(target=self._run, name="masuka-prober", daemon=True)
        self._thread.start()

    def ask(self) -> None:
        """Begin one probe; its Answer is delivered whatever happens."""
        with self._lock:
            self._aborted = False
        self._asked.put("probe")

    def abort(self) -> None:
        """Close the connection of the probe under way, so that it ends now."""
        with self._lock:
            self._aborted = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # already closed by the other side
                    self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the thread; a probe under way is cut off."""
        self._asked.put("end")
        self.abort()

    def _run(self) -> None:
        session = self._session()
        with session:
            while self._asked.get() == "probe":
                self._deliver(self._probe(session))

    def _probe(self, session: requests.Session) -> Answer:
        began = time.monotonic()
        connected = False
        try:
            # `timeout` bounds the connecting and each read; the whole is bounded by abort().
            with session.get(
                self._url, timeout=self._timeout_s, allow_redirects=False, stream=True
            ) as response:
                connected = True
                body = self._read(response)
                seconds = time.monotonic() - began
                with self._lock:
                    # A connection that is cut inside the headers reads like their end.
                    cut_off = self._aborted
                if cut_off:
                    return Answer(seconds, error=_cut_off(self._timeout_s), listening=True)
                return read_answer(response.status_code, dict(response.headers), body, seconds)
        except Exception as error:  # noqa: BLE001 - an edge: whatever a hostile answer raises is not an answer
            with self._lock:
                connected = connected or self._socket is not None
                aborted = self._aborted
            text = _few_words(error, connected=connected, aborted=aborted, timeout_s=self._timeout_s)
            return Answer(seconds=time.monotonic() - began, error=text, listening=connected)
        finally:
            self._attach(None)

    def _read(self, response: requests.Response) -> str:
        body = b""
        for chunk in response.iter_content(8192):
            body += chunk
            if len(body) >= BODY_LIMIT:
                break
        return body[:BODY_LIMIT].decode("utf-8", "replace")

    def _attach(self, connection: socket.socket | None) -> None:
        with self._lock:
            self._socket = connection
            if connection is not None and self._aborted:
                with contextlib.suppress(OSError):  # already closed by the other side
                    connection.shutdown(socket.SHUT_RDWR)

    def _session(self) -> requests.Session:
        import requests
        import urllib3.connection
        import urllib3.connectionpool
        from requests.adapters import HTTPAdapter

        attach = self._attach

        class Connection(urllib3.connection.HTTPConnection):
            """Shows its socket as soon as it is connected, so that it can be closed from outside."""

            def connect(self) -> None:
                super().connect()
                attach(self.sock)

        class Pool(urllib3.connectionpool.HTTPConnectionPool):
            ConnectionCls = Connection

        class Adapter(HTTPAdapter):
            def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
                super().init_poolmanager(*args, **kwargs)
                self.poolmanager.pool_classes_by_scheme = {"http": Pool}

        session = requests.Session()
        # Neither the environment's proxies nor ~/.netrc have a say in a question to our own child.
        session.trust_env = False
        session.headers.update({"Connection": "close", "Accept-Encoding": "identity", "Accept": "*/*"})
        session.mount("http://", Adapter(max_retries=0))
        return session


def _few_words(error: Exception, *, connected: bool, aborted: bool, timeout_s: float) -> str:
    import requests

    if aborted:
        return _cut_off(timeout_s)
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {timeout_s:g} s"
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout_s:g} s"
    if not connected:
        return "connection refused" if "refused" in str(error) else "no connection"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection was closed before an answer"
    return f"no HTTP answer ({type(error).__name__})"


def _cut_off(timeout_s: float) -> str:
    return f"no complete answer within {timeout_s:g} s"
