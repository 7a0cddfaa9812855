"""reload_tls, and `greensock serve --tls-cert`."""

import contextlib
import logging
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from greensock.testing import running
from greensock.tls.contexts import replace_certificate

from ..clients import eventually
from ..separate_process import PATCHED, REPOSITORY, STUCK, UNPATCHED, Templates
from ..server_kinds import (
    GREENLET,
    MIXINS,
    NONE,
    Echo,
    in_every_mode,
    make_server,
    under_every_mixin,
)
from .certificates import NAME, TlsClient, authority, client_context, server_context, write_pem

pytest_plugins = ["tests.alone"]


def serial(client: TlsClient) -> int:
    return x509.load_der_x509_certificate(client.tls.getpeercert(binary_form=True)).serial_number


def serial_in(path: Path) -> int:
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def serial_now(address: Any, context: Any = None) -> int:
    with TlsClient(address, context) as client:
        assert client.ask(b"x\n") == b"x\n"
        return serial(client)


@pytest.mark.parametrize("recipe", ["attribute", "wrapped"])
@pytest.mark.parametrize("mixin", MIXINS)
def test_new_certificate_is_for_new_clients(
    serving: Any, tmp_path: Path, mixin: str, recipe: str
) -> None:
    server = make_server(mixin, Echo)
    if recipe == "attribute":
        server.ssl_context = server_context()
    else:
        server.socket = server_context().wrap_socket(server.socket, server_side=True)
    address = serving(server)
    with TlsClient(address) as early:
        assert early.ask(b"x\n") == b"x\n"
        renewed = write_pem(authority().issue_cert(NAME), tmp_path)
        server.reload_tls(renewed)
        second = serial_now(address)
        assert second not in (serial(early), 0)
        assert serial_now(address) == second
        assert early.ask(b"y\n") == b"y\n"
        server.reload_tls(server_context())
        assert serial_now(address) not in (serial(early), second)


def renew_in_the_hub(mixin: str, folder: str) -> None:
    """A signal handler of Python's runs in the hub's greenlet, where nothing can wait."""
    server = make_server(mixin, Echo, ssl_context=server_context())
    ran: list[bool] = []
    renewed = threading.Event()

    def renew(number: int, frame: Any) -> None:
        if gevent.getcurrent() is gevent.get_hub() and not ran:
            # The next signal may come at any moment, and finds an event amid its set().
            ran.append(True)
            server.reload_tls(path)
            renewed.set()

    def ask_and_stop() -> None:
        try:
            with TlsClient(server.server_address) as early:
                assert early.ask(b"x\n") == b"x\n"
                # More than once: it may find a greenlet running.
                signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
                assert renewed.wait(STUCK)
                assert serial_now(server.server_address) != serial(early)
                assert early.ask(b"y\n") == b"y\n"
            done.append(True)
        finally:
            server.shutdown()

    done: list[bool] = []
    path = write_pem(authority().issue_cert(NAME), Path(folder))
    signal.signal(signal.SIGALRM, renew)
    asking = threading.Thread(target=ask_and_stop)
    asking.start()
    server.serve_forever()
    asking.join()
    server.server_close()
    assert done


@in_every_mode
@under_every_mixin
def test_signal_handler_may_renew(alone: Templates, mode: str, mixin: str, tmp_path: Path) -> None:
    alone(mode, renew_in_the_hub, mixin, str(tmp_path))


def test_bad_files_leave_the_old_certificate(serving: Any, tmp_path: Path) -> None:
    server = make_server(GREENLET, Echo, ssl_context=server_context())
    address = serving(server)
    before = serial_now(address)
    good, other = (write_pem(authority().issue_cert(NAME), tmp_path, name) for name in "ab")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    with pytest.raises(FileNotFoundError):
        server.reload_tls(tmp_path / "nowhere.pem")
    with pytest.raises(ValueError, match=r"there is no certificate with its key in .*empty\.pem"):
        server.reload_tls(empty)
    with pytest.raises(ValueError, match="key values mismatch"):
        server.reload_tls(good, other)
    assert serial_now(address) == before
    server.reload_tls(str(good), good)
    assert serial_now(address) != before


@pytest.mark.parametrize("amid", ["the trial", "the installation"])
@pytest.mark.parametrize("renewed_by", ["file", "context"])
def test_renewal_by_a_signal_amid_another_holds(
    serving: Any, tmp_path: Path, renewed_by: str, amid: str
) -> None:
    server = make_server(GREENLET, Echo, ssl_context=server_context())
    address = serving(server)
    older = encrypted_key(authority().issue_cert(NAME), tmp_path)
    newer = write_pem(authority().issue_cert(NAME), tmp_path)
    asked: list[str] = []

    def renew(number: int, frame: Any) -> None:
        server.reload_tls(newer if renewed_by == "file" else newer_context)

    def password() -> bytes:
        asked.append(amid)
        if len(asked) == {"the trial": 1, "the installation": 2}[amid]:
            signal.raise_signal(signal.SIGUSR2)
        return b"secret"

    newer_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    newer_context.load_cert_chain(newer)
    previous = signal.signal(signal.SIGUSR2, renew)
    try:
        server.reload_tls(*older, password)
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert asked
    assert serial_now(address) == serial_in(newer)
    # Whoever comes later holds again.
    server.reload_tls(*older, "secret")
    assert serial_now(address) == serial_in(older[0])


def test_failed_renewal_amid_another_leaves_that_in_force(serving: Any, tmp_path: Path) -> None:
    server = make_server(GREENLET, Echo, ssl_context=server_context())
    address = serving(server)
    renewed = encrypted_key(authority().issue_cert(NAME), tmp_path)
    failures: list[OSError] = []

    def password() -> bytes:
        try:
            server.reload_tls(tmp_path / "nowhere.pem")
        except OSError as error:
            failures.append(error)
        return b"secret"

    server.reload_tls(*renewed, password)
    assert failures
    assert serial_now(address) == serial_in(renewed[0])


def test_server_without_tls_has_nothing_to_reload(tmp_path: Path) -> None:
    with make_server(NONE, Echo) as server, pytest.raises(ValueError, match="has no TLS"):
        server.reload_tls(write_pem(authority().issue_cert(NAME), tmp_path))


def encrypted_key(certificate: Any, folder: Path) -> tuple[Path, Path]:
    """Files with the certificate and its key, for which one must know the password `secret`."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    path = folder / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    chain = folder / "chain.pem"
    certificate.cert_chain_pems[0].write_to_path(chain)
    return chain, path


def test_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    chain, path = encrypted_key(authority().issue_cert(NAME), tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    replace_certificate(context, chain, path, "secret")
    with pytest.raises(ValueError, match="there is no certificate with its key"):
        replace_certificate(context, chain, path, "wrong")
    done = serve("--tls-cert", str(chain), "--tls-key", str(path))
    assert (done.returncode, "the key is encrypted" in done.stderr) == (2, True)


def serve(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVE, *options], capture_output=True, text=True, cwd=REPOSITORY, timeout=STUCK
    )


SERVE = [
    *(sys.executable, "-m", "greensock", "serve", "greensock.examples:Echo"),
    *("--bind", "127.0.0.1:0"),
]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--tls-cert", "nowhere.pem"], "cannot read nowhere.pem: No such file or directory"),
        (["--tls-key", "key.pem"], "--tls-key needs --tls-cert"),
        (["--tls-client-ca", "ca.pem"], "--tls-client-ca needs --tls-cert"),
        (["--tls-cert", "README.md"], "there is no certificate with its key in README.md"),
        (["--tls-cert", "x", "--bind", "udp://127.0.0.1:0"], "there is no TLS for datagrams"),
    ],
)
def test_mistake_is_one_line(options: list[str], complaint: str) -> None:
    done = serve(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_served_with_files_and_renewed_by_a_signal(tmp_path: Path) -> None:
    path = write_pem(authority().issue_cert(NAME), tmp_path)
    ca = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(ca)
    ours = client_context()
    authority().issue_cert("somebody.test").configure_cert(ours)
    command = [*SERVE, "--tls-cert", str(path), "--tls-client-ca", str(ca)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        scheme, _, port = process.stdout.readline().strip().rpartition(":")
        assert scheme == "listening on tls://127.0.0.1"
        address = ("127.0.0.1", int(port))
        before = serial_now(address, ours)
        with TlsClient(address) as stranger, pytest.raises(ssl.SSLError):
            stranger.ask(b"x\n")
        path.write_text("no certificate")
        process.send_signal(signal.SIGHUP)
        assert "the old certificate stays" in process.stderr.readline()
        assert serial_now(address, ours) == before
        os.unlink(path)
        write_pem(authority().issue_cert(NAME), tmp_path)
        process.send_signal(signal.SIGHUP)
        eventually(lambda: serial_now(address, ours) != before)
        process.terminate()
        assert process.wait(STUCK) == 0
        assert process.stderr.read() == ""


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_signal_amid_the_reading_of_the_files_has_them_read_again(tmp_path: Path) -> None:
    path = write_pem(authority().issue_cert(NAME), tmp_path)
    command = [*SERVE, "--tls-cert", str(path), "--verbose"]
    with started(command) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = ("127.0.0.1", int(process.stdout.readline().rpartition(":")[2]))
        older = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        process.send_signal(signal.SIGHUP)
        with written_once_it_is_read(path) as pipe:
            path.unlink()
            write_pem(authority().issue_cert(NAME), tmp_path)
            process.send_signal(signal.SIGHUP)
            pipe.write(older)
        for _ in range(2):
            while "new certificate in force" not in process.stderr.readline():
                assert process.poll() is None
        assert serial_now(address) == serial_in(path)
        process.terminate()
        process.communicate(timeout=STUCK)
        assert process.returncode == 0


def written_once_it_is_read(path: Path) -> Any:
    """A named pipe's file for writing, once somebody waits to read it."""
    found: list[int] = []

    def opened() -> bool:
        with contextlib.suppress(OSError):
            found.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        return bool(found)

    eventually(opened)
    return open(found[0], "wb")


# The server's own file, so that the signal comes amid the import.
SIGNALLING = """
import os, signal, sys
from greensock.examples import Echo

class Signalling:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.replace({newer!r}, {path!r})
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Signalling())
"""


@pytest.mark.parametrize(
    "module", ["greensock.tls.transport", "greensock.tls.turns", "greensock.tls.farewells"]
)
@pytest.mark.parametrize("is_good", [True, False])
def test_signal_amid_the_import_of_tls_is_heeded_later(
    tmp_path: Path, module: str, is_good: bool
) -> None:
    path = write_pem(authority().issue_cert(NAME), tmp_path)
    newer = write_pem(authority().issue_cert(NAME), tmp_path, "newer")
    wanted = serial_in(newer if is_good else path)
    if not is_good:
        newer.write_text("no certificate")
    target = tmp_path / "target.py"
    target.write_text(SIGNALLING.format(module=module, newer=str(newer), path=str(path)))
    command = [*SERVE[:4], f"{target}:Echo", *SERVE[5:], "--tls-cert", str(path)]
    with started(command) as process:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline().rpartition(":")[2]))
        assert serial_now(address) == wanted
        process.terminate()
        _, errors = process.communicate(timeout=STUCK)
        assert process.returncode == 0
        assert ("the old certificate stays" in errors) is not is_good


def renew_amid_the_import(folder: str) -> None:
    """With files, which are of no use at first, and of a server that does not serve yet."""
    records: list[str] = []
    logging.getLogger("greensock.tls").addHandler(handler := logging.Handler())
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    assert "greensock.tls.transport" not in sys.modules
    other = make_server(GREENLET, Echo, ssl_context=server_context())
    newer = write_pem(authority().issue_cert(NAME), Path(folder))

    class Renewing:
        @staticmethod
        def find_spec(name: str, *_: Any) -> None:
            if name == "greensock.tls.turns":
                other.reload_tls(Path(folder) / "nowhere.pem")
                other.reload_tls(newer)

    sys.meta_path.insert(0, Renewing)  # type: ignore[arg-type]
    with running(make_server(GREENLET, Echo, ssl_context=server_context())) as address:
        serial_now(address)
        assert any("the old certificate stays" in each for each in records)
        with running(other) as address:
            assert serial_now(address) == serial_in(newer)


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
def test_renewal_amid_the_import_for_another_server(
    alone: Templates, mode: str, tmp_path: Path
) -> None:
    alone(mode, renew_amid_the_import, str(tmp_path))
