"""What programs call their own attributes, and the private names of socketserver that they use.

A program written for socketserver knows nothing of greensock's settings and hooks: an attribute of
such a name means what it meant to the program. It is served as if it had none.
"""

import contextlib
import gc
import threading
from collections.abc import Iterable
from typing import Any

import pytest

import greensock
from greensock.settings import limits
from greensock.testing import running

from .clients import ask, connect, eventually, receive_all
from .patched_programs import ANY_PORT, MIXINS, patched, upper
from .separate_process import PATCHED, UNPATCHED
from .server_kinds import (
    TCP,
    UDP,
    Echo,
    make_server,
    patched_or_not,
    server_class,
    under_every_mixin,
)

pytest_plugins = ["tests.alone"]

#: The public names of socketserver's servers, of all Pythons.
STANDARD = set(
    """
    active_children address_family allow_reuse_address allow_reuse_port block_on_close close_request
    collect_children daemon_threads fileno finish_request get_request handle_error handle_request
    handle_timeout max_children process_request process_request_thread request_queue_size
    serve_forever server_activate server_bind server_close service_actions shutdown shutdown_request
    socket_type timeout verify_request
    """.split()  # noqa: SIM905
)
#: All others that greensock's servers have, but what runs a turn in place of a thread's method.
NEW_NAMES = sorted(
    name
    for name in {name for mixin in MIXINS for name in dir(server_class(mixin))}
    if not name.startswith("_") and name not in {*STANDARD, "process_request_greenlet"}
)
#: Values that a program may have for them.
ODD_VALUES: tuple[Any, ...] = ("30s", -1, {"of": "the program"}, [], True, lambda *args: 1 // 0)


def test_the_list_of_names_is_not_empty() -> None:
    assert {"idle_timeout", "on_connection", "drain", "stats", "ssl_context"} < set(NEW_NAMES)


def keeps_its_attributes(mixin: str) -> None:
    """Set on the class, before the constructor, and on the instance while it serves."""
    module = patched(mixin)
    for value in ODD_VALUES:
        for name in NEW_NAMES:

            class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
                def __init__(self, *args: Any, name: str = name, value: Any = value) -> None:
                    setattr(self, name, value)
                    super().__init__(*args)

            server = Server(ANY_PORT, upper(module))
            with running(server) as address, connect(address) as client:
                assert ask(client, b"a\n") == b"A\n", (name, value)
                setattr(server, name, value)
                assert ask(client, b"b\n") == b"B\n", (name, value)
                assert getattr(server, name) is value
            setattr(Server, name, value)
            with running(Server(ANY_PORT, upper(module))) as address:
                assert _answer(address) == b"A\n", (name, value)


def _answer(address: Any) -> bytes:
    with connect(address) as client:
        return ask(client, b"a\n")


keeps_its_attributes.stuck_after = 120.0  # type: ignore[attr-defined]


@pytest.mark.parametrize("mixin", MIXINS)
def test_program_keeps_its_attributes(alone_with_nothing_imported, mixin: str) -> None:
    alone_with_nothing_imported(UNPATCHED, keeps_its_attributes, mixin)


def takes_settings_that_can_be_used(mixin: str) -> None:
    module = patched(mixin)

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        max_connections_per_ip = 1
        overflow = "drop it"

    with running(Server(ANY_PORT, upper(module))) as address, connect(address) as first:
        assert ask(first, b"a\n") == b"A\n"
        with connect(address) as second, contextlib.suppress(ConnectionError):
            assert receive_all(second) == b""


@pytest.mark.parametrize("mixin", MIXINS)
def test_setting_that_can_be_used_holds(alone_with_nothing_imported, mixin: str) -> None:
    alone_with_nothing_imported(UNPATCHED, takes_settings_that_can_be_used, mixin)


def puts_tls_on_itself(mixin: str) -> None:
    """`ssl_context` is where the program keeps its own context."""
    module = patched(mixin)
    # `ssl` must not be there before the process is patched.
    from tests.tls.certificates import TlsClient, server_context

    class Server(module.ThreadingMixIn, module.TCPServer):  # type: ignore[misc]
        ssl_context = server_context()

        def finish_request(self, request: Any, client_address: Any) -> None:
            with self.ssl_context.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with running(Server(ANY_PORT, upper(module))) as address, TlsClient(address) as client:
        assert client.ask(b"a\n") == b"A\n"


@pytest.mark.parametrize("mode", [UNPATCHED, PATCHED])
def test_context_of_the_programs_own(alone_with_nothing_imported, mode: str) -> None:
    alone_with_nothing_imported(mode, puts_tls_on_itself, "threading")


def test_value_set_on_the_class_later_is_looked_at() -> None:
    kind: Any = type("Server", (greensock.ThreadingTCPServer,), {})
    kind.max_threads = 3
    with kind(ANY_PORT, Echo) as server:
        assert (kind.max_threads, server.max_threads) == (3, 3)
        with pytest.raises(ValueError, match="max_threads must be"):
            server.max_threads = 0
        server.max_threads = 5
        assert (kind.max_threads, server.max_threads) == (3, 5)
        del server.max_threads
        assert server.max_threads == 3
        kind.max_threads = 0
        with pytest.raises(ValueError, match="max_threads must be"):
            kind(ANY_PORT, Echo)
    gc.collect()


def test_setting_computed_by_a_property() -> None:
    class Server(greensock.GreenletTCPServer):
        @property
        def max_connections(self) -> int:  # type: ignore[override]
            return 7

    with Server(ANY_PORT, Echo) as server:
        assert server.max_connections == 7


@under_every_mixin
def test_attribute_that_is_no_setting_costs_nothing(mixin: str) -> None:
    with make_server(mixin, Echo) as server:
        assert type(server).__setattr__ is object.__setattr__
        assert not hasattr(type(server), "__getattr__")


def test_every_setting_is_bounded() -> None:
    """What has no check would be taken as it is."""
    assert set(limits.Limits.__slots__) == set(limits.CHECKS)


# Private names.

#: What servers of programs may call their own: all that greensock's have ever called so, and more.
OTHER_NAMES = """
    _accept_batch _accept_error _accept_one _accept_some _accept_through_override
    _accepted_class _acceptor _admit _ask_to_stop _at_work _await_request _awaiting_ends
    _become_child _begin_turn _begin_whole _blocks_on_close _call_overridden _can_park
    _checks_newcomers _child_exited _child_gone _child_turns _close_client _close_clients
    _close_cooperative _close_left _close_unparked _collect _come_back _contexts _cooperative
    _count_whole_out _counters _crowd _describe _dismiss_silent _do_not_wait_for_hub _drain
    _drain_before_close _drain_or_hurry _end_client _end_unstarted _end_whole _ends_here
    _farewells _first_read _fork _forks_before _give_back _give_greenlets_time _goes_on _gone
    _greenlet _handler_of _handler_shape _hands_over _has_context _has_hook _has_room
    _have_no_worker _hooks_are_standard _hub_is_for_greenlets _hurry_lingering _in_children
    _is_closed _is_kept _is_parents _is_paused _is_stream _is_worker _join_workers _keeps_child
    _kept_children _known_listener _latch_of_next_end _leave_hub _leave_parent _leave_to_program
    _left_over _let_in _limits _lingering_turn _makes_room _marks _myself _networks _new_shape
    _new_turn _next_request _note_end _note_silence _note_waiting _observes _of_process _offer
    _on_serving_greenlet _open _open_now _other_pools _others_at_work _own_context _park _pid
    _pool _pool_here _pools _prepare_listener _quick_beginner _read_settings _ready_queue
    _reject _reject_one _release _reply_socket _request_class _resume _run_child_turn
    _run_datagram _run_observed_turn _run_overridden_turn _run_turn _runs_on_hub _says_goodbye
    _serve _serving _set_client_options _settings_changed _shape _shares_unread _start_drain
    _start_thread _stop_asked _stop_listening _stopping _suspend _suspended _take
    _take_out_of_lot _take_over _tell _tls _tls_renewals _turn _turn_away _turns_at_work
    _vacancies _wait_for_room _waiting_for_room _wants_service _wants_turn _work_in_child
    _workers
    _lock _turns _stats _clients _hub _loop _requests _running _socket _children _stop _listener
    _closed _ready _timer _log
""".split()  # noqa: SIM905


#: The private names that the standard library's servers have as well.
STANDARD_PRIVATE = {
    "_BaseServer__is_shut_down",
    "_BaseServer__shutdown_request",
    "_handle_request_noblock",
    "_threads",
}


def private_names(names: Iterable[str]) -> set[str]:
    return {each for each in names if each[0] == "_" and not each.startswith("__")}


@under_every_mixin
@pytest.mark.parametrize("transport", [TCP, UDP])
def test_servers_have_two_private_names(mixin: str, transport: str) -> None:
    with server_class(mixin, transport)(ANY_PORT, Echo) as server:
        ours = private_names(dir(server)) - STANDARD_PRIVATE
        assert ours == {"_greensock", "_greensock_runner"}
        assert private_names(vars(server)) == {"_greensock"}


def test_handlers_have_none() -> None:
    for kind in (
        greensock.BaseRequestHandler,
        greensock.StreamRequestHandler,
        greensock.DatagramRequestHandler,
        greensock.KeepAliveRequestHandler,
    ):
        assert private_names(dir(kind)) == set()

    class Seen(Echo):
        def handle_one_request(self) -> None:
            self.rfile.readline()
            self.wfile.write(repr(sorted(private_names(vars(self)))).encode() + b"\n")

    with running(make_server("none", Seen)) as address, connect(address) as client:
        assert ask(client, b"x\n") == b"[]\n"


class NamedEcho(Echo):
    """A handler that calls its own what greensock has called so anywhere."""

    def setup(self) -> None:
        super().setup()
        for name in OTHER_NAMES:
            setattr(self, name, self.server)

    def handle_one_request(self) -> None:
        super().handle_one_request()
        assert all(getattr(self, name) is self.server for name in OTHER_NAMES)


def serve_with_names_of_its_own(mixin: str) -> None:
    attributes = {name: {"of": "the program"} for name in OTHER_NAMES}
    server = make_server(mixin, NamedEcho, **attributes)
    for name in OTHER_NAMES:
        setattr(server, name, ["of", "this one"])
    with running(server) as address, connect(address) as client:
        assert ask(client, b"a\n") == b"a\n"
        assert ask(client, b"b\n") == b"b\n"
        assert all(getattr(server, name) == ["of", "this one"] for name in OTHER_NAMES)
    with running(make_server(mixin, NamedEcho, **attributes)) as address:
        assert _answer(address) == b"a\n"


@patched_or_not
@under_every_mixin
def test_servers_and_handlers_with_such_names(alone, mode: str, mixin: str) -> None:
    alone(mode, serve_with_names_of_its_own, mixin)


class Stopping(greensock.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.server._BaseServer__shutdown_request = True
        self.wfile.write(b"stopping\n")


def stop_by_the_flag(mixin: str) -> None:
    if mixin == "forking":
        return
    server = make_server(mixin, Stopping)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with connect(server.server_address) as client:
        assert ask(client, b"stop\n") == b"stopping\n"
    serving.join()
    assert not server._BaseServer__shutdown_request
    server.server_close()


@patched_or_not
@under_every_mixin
def test_flag_set_by_a_handler_ends_the_loop(alone, mode: str, mixin: str) -> None:
    alone(mode, stop_by_the_flag, mixin)


@under_every_mixin
def test_flag_set_by_another_thread_ends_the_loop(mixin: str) -> None:
    server = make_server(mixin, Echo)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    with connect(server.server_address) as client:
        assert ask(client, b"x\n") == b"x\n"
        server._BaseServer__shutdown_request = True
        serving.join()
    server.server_close()


def test_flag_set_before_serving_ends_it_at_once() -> None:
    with make_server("none", Echo) as server:
        server._BaseServer__shutdown_request = True
        server.serve_forever()


def accept_through_override(mixin: str) -> None:
    """Something of the program's around each accept, as around socketserver's private method."""
    accepted = []

    def around(self: Any) -> None:
        accepted.append("before")
        super(kind, self)._handle_request_noblock()
        accepted.append("after")

    server = make_server(mixin, Echo, _handle_request_noblock=around)
    kind: Any = type(server)
    with running(server) as address:
        for _ in range(3):
            with connect(address) as client:
                assert ask(client, b"x\n") == b"x\n"
        eventually(lambda: accepted == ["before", "after"] * 3)


@patched_or_not
@under_every_mixin
def test_override_of_the_private_accept_is_called(alone, mode: str, mixin: str) -> None:
    alone(mode, accept_through_override, mixin)


class Bounded:
    """A base of a server's, and of something else."""

    max_connections = 7


def test_base_of_a_server_may_be_that_of_something_else() -> None:
    class Bound(Bounded, greensock.TCPServer):
        pass

    class Other(Bounded):
        pass

    with Bound(("127.0.0.1", 0), Echo) as server:
        other = Other()
        assert (server.max_connections, other.max_connections) == (7, 7)
        server.max_connections = 8
        other.max_connections = 9
        assert (server.max_connections, other.max_connections) == (8, 9)
        del other.max_connections
        assert (server.max_connections, other.max_connections) == (8, 7)
