"""Socket users under locust itself: what goes wrong is told, and told as what it is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from greensock.loadtest.histogram import Histogram
from tests.loadtest.processes import LOADTESTS, counting_server, run_locust

COUNTED_USERS = Path(__file__).with_name("counted_users.py")
ECHO = LOADTESTS / "locust_echo.py"


def test_importing_the_package_imports_no_locust_and_patches_nothing() -> None:
    program = (
        "import sys, greensock.loadtest\n"
        "from greensock.loadtest import Schedule, parse_stages, Histogram\n"
        "import greensock.loadtest.recording\n"
        "assert 'TCPUser' in dir(greensock.loadtest)\n"
        "assert 'locust' not in sys.modules\n"
        "from gevent import monkey\n"
        "assert not any(map(monkey.is_module_patched, ('socket', 'thread', 'ssl', 'time')))\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_stopped_server_shows_in_the_percentiles(tmp_path: Path) -> None:
    """No coordinated omission: each request that should have begun in the stopped second counts."""
    rate, stopped = 300, 1.0
    with counting_server("tcp", stop_at=100) as server:
        pid = server.process.pid

        def stop_for_a_while() -> None:
            os.waitpid(pid, os.WUNTRACED)
            time.sleep(stopped)
            os.kill(pid, signal.SIGCONT)

        stopper = Thread(target=stop_for_a_while)
        stopper.start()
        run = run_locust(
            *[ECHO, tmp_path, "--host", server.url, "-u", "20", "-r", "100", "-t", "3s", "-s", "2"],
            *["--rate", str(rate)],
        )
        stopper.join()
    assert run.status == 0, run.output
    assert run.requests("echo") == server.counts["requests"]
    pairs = run.pairs("echo")
    # A closed loop, or constant_throughput, has 20 of them, one for each user.
    delayed = sum(number for milliseconds, number in pairs if milliseconds >= 100)
    assert delayed >= 0.8 * rate * (stopped - 0.1)
    assert Histogram(pairs).quantile(0.99) >= 900
    assert Histogram(pairs).quantile(0.9) >= 200


def test_refused_port_is_tried_ever_more_seldom(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{sock.getsockname()[1]}"
        run = run_locust(ECHO, tmp_path, "--host", url, "-u", "1", "-t", "2s", "--rate", "0")
    assert run.status == 1
    attempts = run.entry("connect")["num_requests"]
    # After 0, 0.1, 0.3, 0.7 and 1.5 s; thousands without the waits between.
    assert 2 <= attempts <= 6
    assert run.entry("connect")["num_failures"] == attempts
    assert run.requests("echo") == 0
    assert run.collected["errors"] == {"connect: [Errno 111] Connection refused": attempts}


def test_lost_datagrams_are_failures_and_counted(tmp_path: Path) -> None:
    with counting_server("udp", drop=10) as server:
        run = run_locust(
            COUNTED_USERS,
            tmp_path,
            *["--host", server.url, "-u", "6", "-r", "100", "-t", "3s"],
            EXCHANGES="50",
        )
    assert server.counts == {"requests": 300, "dropped": 30}
    assert run.requests("echo") == run.collected_requests("echo") == 300
    assert run.entry("echo")["num_failures"] == 30
    assert run.collected["counters"] == {"lost datagrams": 30}
    assert run.collected["errors"] == {"echo: no reply within the network timeout": 30}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key", "-out", "cert"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key").read_text() + (folder / "cert").read_text())
    return both


def test_tls_handshake_is_a_row_of_its_own(certificate: Path, tmp_path: Path) -> None:
    with counting_server("tls", certificate=certificate) as server:
        run = run_locust(
            *[COUNTED_USERS, tmp_path, "--host", server.url, "-u", "3", "-r", "100", "-t", "1s"],
            EXCHANGES="10",
            SSL_CERT_FILE=str(certificate),
        )
    assert run.status == 0, run.output
    assert server.counts == {"connections": 3, "requests": 30}
    rows = {name: run.requests(name) for name in ("connect", "TLS handshake", "echo")}
    assert rows == {"connect": 3, "TLS handshake": 3, "echo": 30}
    assert run.entry("echo")["method"] == "TLS"


def test_untrusted_certificate_is_a_failed_handshake(certificate: Path, tmp_path: Path) -> None:
    with counting_server("tls", certificate=certificate) as server:
        run = run_locust(
            *[COUNTED_USERS, tmp_path, "--host", server.url, "-u", "1", "-t", "1s"],
            EXCHANGES="10",
        )
    assert run.status == 1
    failures = run.entry("TLS handshake")["num_failures"]
    assert run.requests("connect") == run.requests("TLS handshake") == failures > 0
    assert run.requests("echo") == 0
    assert "CERTIFICATE_VERIFY_FAILED" in str(run.collected["errors"])


def test_a_bug_in_a_task_is_an_exception_and_no_failure(tmp_path: Path) -> None:
    locustfile = tmp_path / "locust_buggy.py"
    locustfile.write_text(
        "from locust import constant\n"
        "from greensock.loadtest import TCPUser, task\n"
        "class BuggyUser(TCPUser):\n"
        "    wait_time = constant(0.1)\n"
        "    @task\n"
        "    def fails(self):\n"
        "        self.client.exchange(b'hello\\n', 'echo', check=lambda data: data.no_such_thing)\n"
    )
    with counting_server("tcp") as server:
        run = run_locust(locustfile, tmp_path, "--host", server.url, "-u", "1", "-t", "1s")
    assert run.status == 1
    assert run.requests("echo") == 0
    assert run.collected["errors"] == {}
    (exception,) = run.collected["exceptions"]
    assert "no_such_thing" in exception["msg"]
    assert exception["count"] >= 1
    assert exception["nodes"] == ["local"]


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("127.0.0.1:9999", "host must be tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT"),
        ("tcp://127.0.0.1:0", "the port of host must be between 1 and 65535, not '0'"),
        (
            "udp://127.0.0.1:9",
            "host of UnixEchoUser must begin with unix:, not 'udp://127.0.0.1:9'",
        ),
    ],
)
def test_wrong_host_ends_with_status_2_and_one_line(
    host: str, message: str, tmp_path: Path
) -> None:
    run = run_locust(LOADTESTS / "locust_unix.py", tmp_path, "--host", host, "-t", "5s")
    assert run.status == 2
    assert sum(message in line for line in run.output.splitlines()) == 1
    assert "Traceback" not in run.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rate", "-1"], "argument --rate: must be a number of at least 0, not '-1'"),
        (["--collect", "no/such/file"], "collect must be a file in a folder that exists, not"),
        (["--stages", "10s"], "stages must look like 10s:1000,10s:1000-4000, not '10s'"),
    ],
)
def test_wrong_option_ends_with_status_2(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    run = run_locust(ECHO, tmp_path, "-t", "5s", *arguments)
    assert run.status == 2
    assert message in run.output
    assert "Traceback" not in run.output
