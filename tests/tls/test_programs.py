"""TLS clients that are parked, pushed to, and of other people's making."""

import contextlib
import http.client
import shutil
import subprocess
import sys
import threading
import xmlrpc.client
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import gevent
import pytest

from greensock.examples import Chat
from greensock.testing import running

from ..clients import eventually, wait_until_parked
from ..separate_process import HERE, PATCHED, STUCK, Templates
from ..server_kinds import (
    FORKING,
    GREENLET,
    MIXINS,
    NONE,
    THREADING,
    Echo,
    make_server,
    server_class,
)
from .certificates import NAME, TlsClient, authority, client_context, server_context

pytest_plugins = ["tests.alone"]

PARKING = (NONE, GREENLET, THREADING)


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_a_thousand_idle_clients_hold_no_thread_and_no_greenlet(serving: Any, mixin: str) -> None:
    server = make_server(mixin, Echo, ssl_context=server_context())
    address = serving(server)
    threads = threading.active_count()
    ours = client_context()
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(TlsClient(address, ours)) for _ in range(1000)]
        for client in crowd:
            client.tls.sendall(b"x\n")
        assert {client.tls.recv(10) for client in crowd} == {b"x\n"}
        wait_until_parked(server, 1000)
        eventually(lambda: threading.active_count() == threads)
        if mixin == GREENLET:
            eventually(lambda: server._greensock.runner.pool.busy == 0)
        assert crowd[500].ask(b"y\n") == b"y\n"


class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = b"Hello.\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def keep_alive(mixin: str) -> None:
    server = make_server(mixin, Page, ssl_context=server_context())
    with running(server) as (_, port):
        threads = threading.active_count()
        connections = [
            http.client.HTTPSConnection("localhost", port, context=context_for_localhost())
            for _ in range(5)
        ]
        for _ in range(2):
            for connection in connections:
                connection.request("GET", "/")
                assert connection.getresponse().read() == b"Hello.\n"
            if mixin != FORKING:
                wait_until_parked(server, 5)
                eventually(lambda: threading.active_count() == threads)
        for connection in connections:
            connection.sock.unwrap()
            connection.close()


def context_for_localhost() -> Any:
    context = client_context()
    context.check_hostname = False
    return context


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("mode", [HERE, PATCHED])
def test_http_keep_alive_is_parked(alone: Templates, mode: str, mixin: str) -> None:
    alone(mode, keep_alive, mixin)


@pytest.mark.parametrize("mixin", MIXINS)
def test_xmlrpc(serving: Any, mixin: str) -> None:
    from xmlrpc.server import SimpleXMLRPCDispatcher, SimpleXMLRPCRequestHandler

    class Server(SimpleXMLRPCDispatcher, server_class(mixin)):  # type: ignore[misc]
        logRequests = False
        ssl_context = server_context()

        def __init__(self) -> None:
            SimpleXMLRPCDispatcher.__init__(self, allow_none=False, encoding=None)
            server_class(mixin).__init__(self, ("127.0.0.1", 0), SimpleXMLRPCRequestHandler)

    server = Server()
    server.register_function(pow)
    _, port = serving(server)
    address = f"https://localhost:{port}"
    with xmlrpc.client.ServerProxy(address, context=context_for_localhost()) as proxy:
        assert [proxy.pow(2, 10), proxy.pow(3, 3)] == [1024, 27]


@pytest.mark.parametrize("mixin", PARKING)
def test_parked_clients_are_written_to(serving: Any, mixin: str) -> None:
    server = make_server(mixin, Chat, ssl_context=server_context())
    address = serving(server)
    with TlsClient(address) as first, TlsClient(address) as second:
        assert first.ask(b"") == b"Your name?\n"
        first.tls.sendall(b"first\n")
        # Parked it is before its name has been read, too.
        eventually(lambda: "first" in Chat._members.values())
        assert second.line() == b"Your name?\n"
        second.tls.sendall(b"second\n")
        assert first.line() == b"* second is here\n"
        wait_until_parked(server, 2)
        second.tls.sendall(b"hello\n")
        assert first.line() == b"second: hello\n"


@pytest.mark.parametrize("mixin", [GREENLET, THREADING])
def test_several_may_push_to_one_slow_client(serving: Any, mixin: str) -> None:
    """No record is torn, given up halfway or sent twice, whoever waits for room."""
    server = make_server(mixin, Echo, ssl_context=server_context())
    address = serving(server)
    blocks = [bytes([letter]) * 1_000_000 for letter in b"abcd"]
    with TlsClient(address) as client:
        assert client.ask(b"x\n") == b"x\n"
        wait_until_parked(server, 1)
        (request,) = server._greensock.run.lot.clients

        def push(block: bytes) -> None:
            for start in range(0, len(block), 50_000):
                request.send(block[start : start + 10])
                request.sendall(block[start + 10 : start + 50_000])

        pushers = start_pushing(server, mixin, push, blocks)
        received = bytearray()
        while len(received) < 4_000_000:
            part = client.tls.recv(20_000)
            assert part
            received += part
            if len(received) < 200_000:
                threading.Event().wait(0.002)
        for pusher in pushers:
            pusher.join()
        assert [received.count(letter) for letter in b"abcd"] == [1_000_000] * 4
        assert client.ask(b"y\n") == b"y\n"


def start_pushing(server: Any, mixin: str, push: Any, blocks: list[bytes]) -> list[Any]:
    if mixin == THREADING:
        threads = [threading.Thread(target=push, args=(block,)) for block in blocks]
        for thread in threads:
            thread.start()
        return threads
    # In greenlets of the server's hub.
    server._greensock.run.do_soon(lambda: [gevent.spawn(push, block) for block in blocks])
    return []


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.mark.parametrize("mixin", MIXINS)
def test_curl(serving: Any, mixin: str, tmp_path: Path) -> None:
    curl = program("curl")
    ca = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(ca)
    _, port = serving(make_server(mixin, Page, ssl_context=server_context()))
    url = f"https://{NAME}:{port}/"
    done = subprocess.run(
        [
            *(curl, "-sS", "--noproxy", "*", "--cacert", ca),
            *("--resolve", f"{NAME}:{port}:127.0.0.1", url, url),
        ],
        capture_output=True,
        timeout=STUCK,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Hello.\n" * 2, b"")


class OpenSsl:
    """`openssl s_client`, which can do to a session what Python's ssl cannot."""

    def __init__(self, port: int, *options: str) -> None:
        self.process = subprocess.Popen(
            [program("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def say(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def hear(self, wanted: bytes) -> bytes:
        assert self.process.stdout is not None
        heard = b""
        for line in self.process.stdout:
            heard += line
            if wanted in line:
                return heard
        return heard

    def __enter__(self) -> "OpenSsl":
        return self

    def __exit__(self, *args: object) -> None:
        self.process.kill()
        with self.process:
            pass


@pytest.mark.parametrize("mixin", PARKING)
def test_change_of_keys_is_no_turn(serving: Any, mixin: str) -> None:
    turns = []

    class Noting(Echo):
        def handle_one_request(self) -> None:
            turns.append(1)
            super().handle_one_request()

    server = make_server(mixin, Noting, ssl_context=server_context())
    _, port = serving(server)
    with OpenSsl(port, "-tls1_3") as client:
        client.say(b"<first>\n")
        assert b"<first>" in client.hear(b"<first>")
        client.say(b"K\n")  # asks for new keys at both ends
        assert b"KEYUPDATE" in client.hear(b"KEYUPDATE")
        client.say(b"<second>\n")
        assert b"<second>" in client.hear(b"<second>")
        assert len(turns) == 2


@pytest.mark.parametrize("mixin", PARKING)
def test_renegotiation_is_refused(serving: Any, mixin: str) -> None:
    server = make_server(mixin, Echo, ssl_context=server_context())
    address = serving(server)
    with TlsClient(address) as other, OpenSsl(address[1], "-tls1_2") as client:
        client.say(b"<first>\n")
        client.hear(b"<first>")
        client.say(b"R\n")
        heard = client.hear(b"no renegotiation")
        assert b"no renegotiation" in heard or client.process.wait(STUCK)
        assert other.ask(b"x\n") == b"x\n"
    assert server.stats().errors == 0


LOCUSTFILE = """
import ssl
from greensock.loadtest import SocketUser
from locust import task

class User(SocketUser):
    host = "tls://127.0.0.1:%d"
    ssl_context = ssl.create_default_context(cafile=%r)
    ssl_context.check_hostname = False

    @task
    def ask(self):
        if self.client.exchange(b"x\\n").data != b"x\\n":
            raise SystemExit(3)
        self.environment.runner.quit()
"""


def test_locust_user(serving: Any, tmp_path: Path) -> None:
    server = make_server(GREENLET, Echo, ssl_context=server_context())
    _, port = serving(server)
    ca = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(ca)
    tmp_path.joinpath("locustfile.py").write_text(LOCUSTFILE % (port, str(ca)))
    done = subprocess.run(
        [sys.executable, "-m", "locust", "--headless", "-u", "1", "-t", "20s"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert server.stats().handshakes_failed == 0
    assert server.stats().accepted == 1
