"""The programs: how each is started, asked, and kept idle."""

import pickle
import struct
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version

from loadtests.programs import clients
from loadtests.programs.clients import Answers

SERVED = Path(__file__).with_name("served")

HTTP_QUESTION = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@dataclass(frozen=True)
class Program:
    """One program.

    `distributions` are the packages that it and its client come from, none for the standard
    library's. `arguments` follow `python` or `greensock run`. `question` is what an idle client
    says before it falls silent, and `answer` is in what it is answered; None: it says nothing, in
    a protocol that closes after each answer. `question_again` is what it says later, where that
    differs. `one_at_a_time`: as it is, it serves its clients one after the other, so that the
    standard library cannot hold any. `idle` is how many are held.
    """

    name: str
    shows: str
    arguments: tuple[str, ...]
    client: str
    distributions: tuple[str, ...] = ()
    question: bytes | None = None
    answer: bytes = b""
    question_again: bytes | None = None
    answer_again: bytes = b""
    one_at_a_time: bool = False
    idle: int = 300
    ports: int = 1

    def command(self, port: int) -> list[str]:
        return [argument.format(port=port, served=SERVED) for argument in self.arguments]

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [name for name in self.distributions if version_of(name) is None]

    def version(self) -> str:
        """Of the first package, or of Python."""
        return version_of(self.distributions[0]) or "?" if self.distributions else python_version()

    def ask(self, port: int) -> Answers:
        answers: Answers = getattr(clients, self.client)(port)
        return answers


def version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _script(name: str) -> tuple[str, ...]:
    return (f"{{served}}/{name}.py", "{port}")


_WEBSOCKET_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_LOG_RECORD = pickle.dumps({"name": "idle", "levelno": 20, "msg": "hello"})
_MODBUS_READ = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
_OSC_DOUBLE = bytes.fromhex("c0") + b"/double\x00,i\x00\x00\x00\x00\x00\x15" + bytes.fromhex("c0")

PROGRAMS = (
    Program(
        "python -m http.server",
        "files over HTTP/1.1",
        ("-m", "http.server", "{port}", "-b", "127.0.0.1", "-d", "{served}", "-p", "HTTP/1.1"),
        "requests_session",
        question=HTTP_QUESTION,
        answer=b"200 OK",
    ),
    Program(
        "ThreadingHTTPServer",
        "pages over HTTP/1.1",
        _script("keep_alive"),
        "requests_session",
        question=HTTP_QUESTION,
        answer=b"You asked for /.",
    ),
    Program(
        "xmlrpc.server, threaded",
        "XML-RPC over HTTP/1.1",
        _script("xmlrpc_service"),
        "xmlrpc_proxy",
        question=HTTP_QUESTION.replace(b"GET", b"POST").replace(
            b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"
        ),
        answer=b"HTTP/1.1 200 OK",
    ),
    Program(
        "logging receiver and listen()",
        "log records",
        _script("log_receiver"),
        "log_records",
        question=struct.pack(">L", len(_LOG_RECORD)) + _LOG_RECORD,
        answer=b"+",
        ports=2,
    ),
    Program(
        "Flask on Werkzeug",
        "a development server, which closes after each answer",
        ("-m", "flask", "--app", "{served}/flask_application.py", "run", "--port", "{port}"),
        "flask_pages",
        ("werkzeug", "flask"),
    ),
    Program(
        "Bottle on wsgiref",
        "a server without a mixin, which closes after each answer",
        ("-m", "bottle", "-b", "127.0.0.1:{port}", "bottle_application:app"),
        "bottle_pages",
        ("bottle",),
        one_at_a_time=True,
    ),
    Program(
        "prometheus_client",
        "metrics; closes after each answer",
        _script("metrics"),
        "metrics_page",
        ("prometheus-client",),
    ),
    Program(
        "dnslib",
        "DNS over TCP; closes after each answer",
        ("-m", "dnslib.fixedresolver", "-p", "{port}", "-a", "127.0.0.1", "--tcp"),
        "dns_question",
        ("dnslib",),
    ),
    Program(
        "websocket-server",
        "WebSocket",
        _script("websocket_echo"),
        "websocket_session",
        ("websocket-server", "websocket-client"),
        question=_WEBSOCKET_HANDSHAKE,
        answer=b"101 Switching Protocols",
        question_again=b"\x81\x85\x00\x00\x00\x00hello",
        answer_again=b"HELLO",
    ),
    Program(
        "irc",
        "IRC; looks at each client ten times a second",
        ("-m", "irc.server", "-a", "127.0.0.1", "-p", "{port}"),
        "irc_session",
        ("irc",),
        question=b"PING here\r\n",
        answer=b"PONG",
        idle=100,
    ),
    Program(
        "uModbus",
        "Modbus/TCP",
        _script("modbus_device"),
        "modbus_master",
        ("uModbus",),
        question=_MODBUS_READ,
        answer=b"\x00\x01\x00\x00\x00\x05",
    ),
    Program(
        "python-osc",
        "OSC over TCP",
        _script("osc_synthesizer"),
        "osc_questions",
        ("python-osc",),
        question=_OSC_DOUBLE,
        answer=b"/doubled",
    ),
    Program(
        "pynetdicom",
        "DICOM; two threads of its own for each client, which look at it 1,000 times a second",
        _script("dicom_archive"),
        "dicom_echo",
        ("pynetdicom",),
        idle=20,
    ),
    Program(
        "jsonrpclib-pelix",
        "JSON-RPC on a thread pool of its own; closes after each answer",
        _script("json_rpc_pool"),
        "json_rpc_proxy",
        ("jsonrpclib-pelix",),
    ),
    Program(
        "Radicale",
        "calendars; its own loop over handle_request(), which closes after each answer",
        (
            *("-m", "radicale", "--server-hosts", "127.0.0.1:{port}", "--auth-type", "none"),
            *("--storage-filesystem-folder", "calendars", "--server-max-connections", "1000"),
        ),
        "calendar_session",
        ("Radicale",),
        idle=200,
    ),
    Program(
        "robotremoteserver",
        "XML-RPC without a mixin, which closes after each answer",
        _script("robot_library"),
        "robot_keywords",
        ("robotremoteserver",),
        one_at_a_time=True,
    ),
    Program(
        "pyModbusTCP",
        "Modbus/TCP, on a server that was stopped and started; looks at each client once a second",
        _script("modbus_restarted"),
        "modbus_client",
        ("pyModbusTCP",),
        question=_MODBUS_READ,
        answer=b"\x00\x01\x00\x00\x00\x05",
    ),
    Program(
        "fakeredis",
        "Redis, on sockets that do not block; looks at each client 100 times a second",
        _script("redis_without_redis"),
        "redis_client",
        ("fakeredis", "redis"),
        question=b"*1\r\n$4\r\nPING\r\n",
        answer=b"+PONG",
        idle=30,
    ),
    Program(
        "telnetsrv",
        "Telnet; a thread that setup() starts reads each client, which takes half a second",
        _script("telnet_shell"),
        "telnet_session",
        ("telnetsrv",),
        question=b"echo hello\r\n",
        answer=b"HELLO",
        idle=10,
    ),
)
