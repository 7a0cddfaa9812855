"""Paste: a WSGI application on its pool of threads, with keep-alive, in a loop of its own."""

import sys
from collections.abc import Callable, Iterable
from typing import Any

from paste import httpserver


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    body = environ["wsgi.input"].read().upper() or f"You asked for {environ['PATH_INFO']}.".encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    httpserver.serve(
        application,
        "127.0.0.1",
        sys.argv[1],
        protocol_version="HTTP/1.1",
        use_threadpool=True,
        threadpool_workers=400,
        threadpool_options={"spawn_if_under": 5, "hung_check_period": 1000},
        daemon_threads=True,
    )
