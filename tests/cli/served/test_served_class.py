"""What `greensock serve` makes of a target: its mixin, its constructor, its settings."""

import abc
import os
import subprocess
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

import greensock
from greensock.arguments.usage import UsageError
from greensock.cli import serve
from greensock.cli.served.served_class import MIXINS, make_server, usual_mixin
from greensock.examples import ClassicEcho, Echo, Upper
from greensock.net import addresses
from greensock.testing import running
from tests.cli.test_serve import address_of, command
from tests.cli.test_serve import serve as served
from tests.clients import ask, connect
from tests.server_kinds import ANY_PORT

ANYWHERE = addresses.parse("127.0.0.1:0")


class WhereItRuns(greensock.KeepAliveRequestHandler):
    """Says what runs it."""

    request_terminator = b"\n"

    def handle_one_request(self) -> None:
        self.rfile.readline()
        here = threading.current_thread() is self.server.served_in  # type: ignore[attr-defined]
        self.wfile.write(b"%d %d\n" % (self.server.made_in == os.getpid(), here))


class Plain(greensock.TCPServer):
    RequestHandlerClass = WhereItRuns

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.made_in = os.getpid()
        super().__init__(*args, **kwargs)

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        self.served_in = threading.current_thread()
        super().serve_forever(poll_interval)


class Greenlets(greensock.GreenletMixIn, Plain):
    pass


class Threads(greensock.ThreadingMixIn, Plain):
    pass


class Children(greensock.ForkingMixIn, Plain):
    pass


class Counted(abc.ABCMeta):
    pass


class OfAnotherType(Threads, metaclass=Counted):
    pass


OWN = {
    Plain: "none",
    Greenlets: "greenlet",
    Threads: "threading",
    Children: "forking",
    OfAnotherType: "threading",
}


@pytest.mark.parametrize("target", OWN)
def test_server_class_keeps_its_mixin(target: Any) -> None:
    assert usual_mixin(target) is MIXINS[OWN[target]]


def test_handler_has_greenlets() -> None:
    assert usual_mixin(Echo) is greensock.GreenletMixIn


@pytest.mark.parametrize("mixin", MIXINS)
@pytest.mark.parametrize("target", OWN)
def test_server_class_is_served_under_the_mixin_that_is_asked_for(target: Any, mixin: str) -> None:
    server = make_server(target, MIXINS[mixin], ANYWHERE, {})
    assert isinstance(server, target)
    for name, each in MIXINS.items():
        assert each is None or isinstance(server, each) is (name == mixin)
    in_this_process = b"0" if mixin == "forking" else b"1"
    in_the_serving_thread = b"0" if mixin == "threading" else b"1"
    with running(server) as address, connect(address) as one, connect(address) as two:
        for client in (one, two, one):
            answer = ask(client, b"x\n").split()
            assert answer[0] == in_this_process
            if mixin != "forking":
                assert answer[1] == in_the_serving_thread


class OfAddress(greensock.TCPServer):
    def __init__(self, address: Any) -> None:
        super().__init__(address, Echo)


class OfUsualHandler(greensock.TCPServer):
    def __init__(self, address: Any, handler: Any = Echo) -> None:
        super().__init__(address, handler)


class OfAnything(greensock.TCPServer):
    RequestHandlerClass = Echo

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)


class OfKeyword(greensock.TCPServer):
    RequestHandlerClass = Echo

    def __init__(self, address: Any, handler: Any, *, secret: bytes) -> None:
        super().__init__(address, handler)


class OfThree(greensock.TCPServer):
    RequestHandlerClass = Echo

    def __init__(self, address: Any, handler: Any, database: Any) -> None:
        super().__init__(address, handler)


class OfNothing(greensock.TCPServer):
    def __init__(self) -> None:
        super().__init__(ANY_PORT, Echo)


class WithoutHandler(greensock.TCPServer):
    pass


class Failing(greensock.TCPServer):
    RequestHandlerClass = Echo

    def __init__(self, address: Any, handler: Any) -> None:
        raise RuntimeError("no\ndatabase")


@pytest.mark.parametrize("target", [OfAddress, OfUsualHandler, OfAnything])
def test_server_is_made_with_an_address_or_an_address_and_a_handler(target: Any) -> None:
    server = make_server(target, None, ANYWHERE, {})
    with running(server) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"x\n"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (OfKeyword, r"OfKeyword must be made with an address, .*\(address: .*secret"),
        (OfThree, r"OfThree must be made with an address, .* database"),
        (OfNothing, r"OfNothing must be made with an address"),
        (WithoutHandler, "WithoutHandler must have a class attribute RequestHandlerClass"),
        (Failing, "^Failing cannot be made: RuntimeError: no database$"),
    ],
)
def test_server_that_wants_something_else_gets_one_line(target: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        make_server(target, None, ANYWHERE, {})
    assert "\n" not in str(raised.value)


class Device(greensock.KeepAliveRequestHandler):
    request_terminator = b"\n"
    greeting = b"hello\n"
    shouts = False
    tries = 3

    def handle_one_request(self) -> None:
        self.wfile.write(self.rfile.readline())


class Sensor(Device):
    pass


#: For a TCP server of `Sensor`, or what stands beside.
EFFECTS: dict[str, Any] = {
    "timeout": 5,
    "Sensor.timeout": 5,
    "Device.timeout": None,
    "StreamRequestHandler.timeout": 0.5,
    "max_line_size": 100,
    "Sensor.request_terminator": b";",
    "greeting": b"good day\n",
    "tries": 4,
    "shouts": True,
    "parkable": False,
    "max_connections": 5,
    "TCPServer.max_connections": 5,
    "idle_timeout": 5.5,
    "request_queue_size": 5,
    "tcp_nodelay": False,
    "block_on_close": False,
}


@pytest.mark.parametrize("name", EFFECTS)
def test_setting_is_of_the_server_or_of_the_handler(name: str) -> None:
    handler = type("Sensor", (Sensor,), {})
    attribute = name.rpartition(".")[2]
    with make_server(handler, greensock.GreenletMixIn, ANYWHERE, {name: EFFECTS[name]}) as server:
        takers = [each for each in (server, handler) if hasattr(each, attribute)]
        assert any(getattr(each, attribute) == EFFECTS[name] for each in takers)


def test_longest_line_that_is_set_holds() -> None:
    handler = type("Short", (Echo,), {})
    with make_server(handler, None, ANYWHERE, {"Short.max_line_size": 10}):
        assert handler.max_line_size == 10  # type: ignore[attr-defined]


NOTHING_OF_IT: list[tuple[type, str, str, dict[str, Any], str]] = [
    (Upper, "127.0.0.1:0", "greenlet", {"timeout": 60}, "timeout would do nothing: .*idle_timeout"),
    (Sensor, "127.0.0.1:0", "greenlet", {"TCPServer.timeout": 60}, "would do nothing"),
    (Sensor, "127.0.0.1:0", "greenlet", {"max_children": 5}, "has no attribute max_children"),
    (Sensor, "127.0.0.1:0", "greenlet", {"max_threads": 5}, "has no attribute max_threads"),
    (Sensor, "127.0.0.1:0", "none", {"linger": 0.5}, "has no attribute linger"),
    (Sensor, "127.0.0.1:0", "threading", {"max_greenlets": 5}, "has no attribute max_greenlets"),
    (Sensor, "127.0.0.1:0", "none", {"Snesor.timeout": 5}, "no class Snesor here, but .*Sensor"),
    (Sensor, "127.0.0.1:0", "none", {"Sensor.timeuot": 5}, "Sensor has no attribute timeuot"),
    (Sensor, "127.0.0.1:0", "none", {"handle": 5}, "has no attribute handle"),
    (Sensor, "127.0.0.1:0", "none", {"serve_forever": 5}, "has no attribute serve_forever"),
    (Sensor, "127.0.0.1:0", "none", {"draining": True}, "has no attribute draining"),
    (Sensor, "127.0.0.1:0", "none", {"ssl_object": 5}, "has no attribute ssl_object"),
    (Sensor, "127.0.0.1:0", "none", {"address_family": 5}, "address_family .*--bind"),
    (Sensor, "127.0.0.1:0", "none", {"ssl_context": "x.pem"}, "ssl_context .*--tls-cert"),
    (Sensor, "127.0.0.1:0", "none", {"handshake_timeout": 5}, "nothing: there is no TLS"),
    (Sensor, "127.0.0.1:0", "none", {"ip_prefix": (24, 64)}, "max_connections_per_ip"),
    (Sensor, "127.0.0.1:0", "none", {"trusted_ips": ("::1",)}, "max_connections_per_ip"),
    (ClassicEcho, "127.0.0.1:0", "none", {"parkable": True}, "no handle_one_request"),
    (Upper, "udp://127.0.0.1:0", "none", {"max_packet_size": "big"}, "must be a number"),
    (Upper, "udp://127.0.0.1:0", "none", {"idle_timeout": 5}, "only datagrams"),
    (Upper, "udp://127.0.0.1:0", "none", {"max_connections": 5}, "only datagrams"),
    (Upper, "udp://127.0.0.1:0", "none", {"parkable": True}, "only datagrams"),
    (Sensor, "unix:{}/socket", "none", {"write_timeout": 5}, "it is for TCP"),
    (Sensor, "unix:{}/socket", "none", {"tcp_nodelay": False}, "it is for TCP"),
    (Sensor, "127.0.0.1:0", "none", {"timeout": "abc"}, "timeout must be a positive number"),
    (Sensor, "127.0.0.1:0", "none", {"timeout": 0}, "timeout must be a positive number"),
    (Sensor, "127.0.0.1:0", "none", {"idle_timeout": "abc"}, "idle_timeout must be"),
    (Sensor, "127.0.0.1:0", "none", {"tcp_nodelay": "no"}, "tcp_nodelay must be True or False"),
    (Sensor, "127.0.0.1:0", "none", {"request_queue_size": "x"}, "must be a number"),
    (Sensor, "127.0.0.1:0", "none", {"request_queue_size": 1.5}, "must be an integer"),
    (Sensor, "127.0.0.1:0", "none", {"greeting": "hello"}, "greeting must be bytes"),
    (Sensor, "127.0.0.1:0", "none", {"shouts": "yes"}, "shouts must be True or False"),
    (Sensor, "127.0.0.1:0", "none", {"request_terminator": "x"}, "must be bytes or None"),
    (Sensor, "127.0.0.1:0", "none", {"max_line_size": "x"}, "max_line_size must be"),
    (Sensor, "127.0.0.1:0", "none", {"parkable": "x"}, "parkable must be True, False or None"),
    (Plain, "udp://127.0.0.1:0", "none", {}, "Plain is no server of datagrams"),
]


@pytest.mark.parametrize(("target", "bind", "mixin", "settings", "message"), NOTHING_OF_IT)
def test_setting_that_does_nothing_is_refused(
    tmp_path: Path, target: Any, bind: str, mixin: str, settings: dict[str, Any], message: str
) -> None:
    address = addresses.parse(bind.format(tmp_path))
    with pytest.raises(UsageError, match=message) as raised:
        make_server(type(target.__name__, (target,), {}), MIXINS[mixin], address, settings)
    assert "\n" not in str(raised.value)


PROGRAM = """
import time
import greensock

class Slow(greensock.KeepAliveRequestHandler):
    request_terminator = b"\\n"
    kinds: dict = {}

    def handle_one_request(self):
        line = self.rfile.readline()
        if line == b"wait\\n":
            self.rfile.readline()
        self.wfile.write(line)

class Server(greensock.ThreadingTCPServer):
    RequestHandlerClass = Slow

class Wanting(greensock.TCPServer):
    RequestHandlerClass = Slow

    def __init__(self, address, handler, database):
        super().__init__(address, handler)
"""


class TestTheCommand:
    """The same through the command line."""

    folder: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def write(self, tmp_path: Path) -> None:
        (tmp_path / "slow.py").write_text(PROGRAM)
        TestTheCommand.folder = tmp_path

    def test_own_mixin_and_a_setting_of_the_handler(self) -> None:
        arguments = (f"{self.folder}/slow.py:Server", "--bind", "127.0.0.1:0")
        options = ("--set", "Slow.timeout=0.2", "--set", "max_threads=7")
        with served(*arguments, *options) as (line, _), connect(address_of(line)) as client:
            assert ask(client, b"x\n") == b"x\n"
            assert client.recv(10) == b""

    def test_mistakes(self) -> None:
        for arguments in (
            ("Wanting",),
            ("Server", "--set", "max_children=5"),
            ("Slow", "--set", "TCPServer.timeout=5"),
        ):
            target, *options = arguments
            done = subprocess.run(
                [*command(f"{self.folder}/slow.py:{target}"), "--bind", "127.0.0.1:0", *options],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1
            assert done.stdout == ""


def test_help_says_what_a_server_class_needs() -> None:
    assert "made with an address alone" in serve._DESCRIPTION
