"""What becomes of servers in a process that the program has forked.

A fork leaves the child one thread, the one that has forked; of what the others did it has nothing.
Here the same holds of greenlets. So no server serves in the child, but one whose own serving
greenlet has forked; every other is as if it had never served, and may serve anew. Open clients
stay with the parent: the child closes its descriptors of them, but for what the forking greenlet
has in hand.

What else is the parent's is kept, and never looked at again: a greenlet to which nothing refers
would be ended, and run its `finally` here.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
from types import FrameType
from typing import Any

from greensock import process_servers
from greensock.hub import children, lot, process_end, signal_wakeup
from greensock.hub.lot import Client
from greensock.hub.waking import Latch
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.request_sockets import c_socket, is_request_socket
from greensock.tls_renewals import Renewals

_parents: list[Any] = []


def leave_all_to_parent() -> None:
    """In a child that runs one handler, and nothing else of its parent: it has no servers."""
    for server in process_servers.all_servers():
        vars(server)["_gs_is_parents"] = True


def _begin_anew() -> None:
    if children.is_forking():
        return
    process_end.serving.clear()
    children.keep_hub()
    signal_wakeup.renew()
    servers = list(process_servers.all_servers())
    in_hand = _requests_in_hand(sys._getframe())
    for server in servers:
        _leave(server, in_hand)
    lot.keep(server._gs_serving.lot for server in servers if server._gs_serving is not None)


os.register_at_fork(after_in_child=_begin_anew)


def _requests_in_hand(frame: FrameType | None) -> list[Any]:
    """What requests the calling greenlet is at work on."""
    found = []
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value) is Client:
                found.append(value.request)
            elif is_request_socket(value):
                found.append(value)
        frame = frame.f_back
    return found


def _leave(server: Any, in_hand: list[Any]) -> None:
    serving = server._gs_serving
    lives_on = False
    whole = 0
    if server._gs_runs_on_hub() and server._gs_is_worker():
        children.end_with_this_greenlet()
    if serving is not None and serving.sleeper.in_this_thread():
        lives_on = serving.sleeper.is_of_caller()
        # At most one: a datagram counts as none.
        whole = any(request not in serving.lot.clients for request in in_hand)
        _leave_clients(server, serving, in_hand)
        _leave_waits(serving, lives_on)
    names = {name for each in type(server).__mro__ for name in vars(each).get("_gs_of_process", ())}
    if lives_on:
        names.discard("_gs_pool")
    left = {name: vars(server).pop(name) for name in names if name in vars(server)}
    _parents.append((serving, left, in_hand))
    server._gs_counters.renew(int(whole))
    if hasattr(server, "_gs_tls_renewals"):
        server._gs_tls_renewals = Renewals()
    ended = vars(server)["_BaseServer__is_shut_down"]
    if lives_on:
        ended.bequeath()
    else:
        _forget_run(server, ended)
    vars(server)["_gs_is_parents"] = False


def _forget_run(server: Any, ended: Latch) -> None:
    if not ended.is_set():
        # Also between the beginning of a run, or its end, and that of `_gs_serving`.
        vars(server).pop("draining", None)
        server._gs_stop_asked = False
    vars(server).update(
        _gs_serving=None,
        _gs_drain=None,
        _BaseServer__is_shut_down=Latch(is_set=True),
        _BaseServer__serving_greenlet=None,
    )


def _leave_clients(server: Any, serving: Any, in_hand: list[Any]) -> None:
    """Close the descriptors of all clients, telling nobody, but of those `in_hand`."""
    pool = getattr(server, "_gs_pool", None)
    jobs = [] if pool is None else pool.stay_behind()
    requests = [
        *serving.lot.clients,
        *(each.request for each in server._gs_at_work()),
        *(each.request for each in serving.ready if type(each) is Client),
        *(each[0] for each in jobs if type(each) is tuple),
    ]
    if server._gs_farewells is not None:
        requests += server._gs_farewells.stay_behind()
    gone = [
        each
        for each in requests
        if issubclass(type(each), c_socket) and not any(each is other for other in in_hand)
    ]
    for request in gone:
        client = serving.lot.clients.get(request)
        if client is not None:
            serving.lot.forget(client)
        if isinstance(request, CooperativeSocket):
            request.stay_behind()
    children.close_descriptors(listening.abandon(gone))
    for queue in (serving.ready, serving.returned, serving._errands):
        queue.clear()


def _leave_waits(serving: Any, lives_on: bool) -> None:
    """Have the hub, which turns in the child too, not wake what is the parent's."""
    serving._lock = _thread.RLock()
    serving.sleeper.renew_lock()
    serving.stalls.stay_behind()
    if lives_on:
        return
    serving.stop_listening()
    for timer in serving._timers:
        timer.stop()
        timer.close()
    with contextlib.suppress(ValueError):
        serving.lot.suspend()
    serving.sleeper.stay_behind()
