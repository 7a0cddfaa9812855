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

import os
import sys
from types import FrameType
from typing import Any

from greensock.hub import process_end, signal_wakeup
from greensock.hub.workers import children
from greensock.lot.client import Client
from greensock.net import listening
from greensock.servers import process_servers
from greensock.serving.run import Run
from greensock.serving.service import Service
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.requests import c_socket, is_request_socket
from greensock.tls.loading import Renewals

_parents: list[Any] = []


def leave_all_to_parent() -> None:
    """In a child that runs one handler, and nothing else of its parent: it has no servers."""
    for server in process_servers.all_servers():
        server._greensock.is_parents = True


def _begin_anew() -> None:
    if children.is_forking():
        return
    process_end.serving.clear()
    children.keep_hub()
    signal_wakeup.renew()
    servers = list(process_servers.all_servers())
    in_hand = _requests_in_hand(sys._getframe())
    for server in servers:
        _leave(server._greensock, in_hand)


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


def _leave(service: Service, in_hand: list[Any]) -> None:
    run = service.run
    lives_on = False
    dedicated = 0
    if service.runner.runs_on_hub() and service.runner.is_worker():
        children.end_with_this_greenlet()
    if run is not None and run.sleeper.in_this_thread():
        lives_on = run.sleeper.is_of_caller()
        # At most one: a datagram counts as none.
        dedicated = any(request not in run.lot.clients for request in in_hand)
    clients = service.lot.clients.values()
    if run is None:
        # They are this process's as well, should it serve them.
        left = service.lot.leave_to_parent(clients, serves_on=False)
    else:
        kept = [each for each in clients if lives_on and _is_among(each.request, in_hand)]
        left = service.lot.leave_to_parent(kept, lives_on)
        if run.sleeper.in_this_thread():
            _leave_requests(service, run, clients, in_hand)
            run.stay_behind(lives_on)
    _parents.append((run, clients, left, service.runner.renew(lives_on), in_hand))
    service.counters.renew(int(dedicated))
    service.renewals = Renewals()
    if lives_on:
        service.lifecycle.ended.bequeath()
    else:
        if not service.lifecycle.ended.is_set():
            vars(service.server).pop("draining", None)
        service.lifecycle.forget()
        service.run = None
    service.is_parents = False


def _leave_requests(service: Service, run: Run, clients: list[Client], in_hand: list[Any]) -> None:
    """Close the descriptors of all clients, telling nobody, but of those `in_hand`."""
    requests = [
        *(each.request for each in clients),
        *(each.request for each in service.runner.at_work()),
        *(each.request for each in run.ready if type(each) is Client),
        *(each[0] for each in service.runner.stay_behind() if type(each) is tuple),
        *service.transport.stay_behind(),
    ]
    gone = [
        each
        for each in requests
        if issubclass(type(each), c_socket) and not _is_among(each, in_hand)
    ]
    for request in gone:
        if isinstance(request, CooperativeSocket):
            request.stay_behind()
    children.close_descriptors(listening.abandon(gone))


def _is_among(request: Any, requests: list[Any]) -> bool:
    return any(request is each for each in requests)
