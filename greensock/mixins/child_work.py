"""What a child does, from its fork to its end."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NoReturn

from greensock.hub.workers import children
from greensock.hub.workers.demand import Demand
from greensock.lot import lot
from greensock.lot.client import ENDING, Client
from greensock.lot.outcomes import END, GO_ON, PARK, Outcome
from greensock.mixins.child_turns import PARKS, ChildTurn
from greensock.net import listening
from greensock.servers import forks_of_programs, process_servers
from greensock.serving.service import Service
from greensock.sockets.cooperative import CooperativeSocket
from greensock.sockets.requests import OriginalSocket, is_request_socket
from greensock.turns import lingering
from greensock.turns.goodbyes import say_goodbye
from greensock.turns.single_requests import run_alone


def become_child(service: Service, turn: ChildTurn, run: Callable[[ChildTurn], int]) -> NoReturn:
    """Run a turn by `run` in this freshly forked process, and end it."""
    try:
        children.run_in_child(functools.partial(_work, service, turn, run))
    finally:
        os._exit(1)


def _work(service: Service, turn: ChildTurn, run: Callable[[ChildTurn], int]) -> NoReturn:
    status = 1
    try:
        lot.leave_to_parent()
        _leave_parent(service, turn.client)
        status = run(turn)
    finally:
        os._exit(status)


def _leave_parent(service: Service, client: Client) -> None:
    """Close what is the parent's business: every listener, and every other client."""
    listener = getattr(service.server, "socket", None)
    others = _clients_of(service, client.request)
    if service.is_of_streams():
        others.append(listener)
    for other in process_servers.others(service.server):
        others += _clients_of(other._greensock, None)
        if vars(other).get("socket") is not listener:
            others.append(vars(other).get("socket"))
    children.close_descriptors(listening.abandon(others))
    forks_of_programs.leave_all_to_parent()
    for sock in client.request if isinstance(client.request, tuple) else (client.request,):
        if isinstance(sock, CooperativeSocket):
            sock.forget_hub()
        elif not isinstance(sock, bytes | OriginalSocket):
            children.take_along(sock)


def _clients_of(service: Service, kept: Any) -> list[Any]:
    """The requests of a server's clients, all but `kept`; here it serves no more.

    Those that the lot knows the numbers of are closed at once.
    """
    run, lot = service.run, service.lot
    requests = service.clients.waiting_requests()
    if run is not None:
        requests += [each.request for each in run.ready if each.lot is None]
    if lot.descriptors is None:
        requests += lot.clients
    else:
        # The lot holds no others: not what a program's get_request() puts around a socket.
        lot.descriptors.close_all_but(kept if is_request_socket(kept) else None)
    service.run = None
    return [each for each in requests if each is not kept]


def run_turn(service: Service, turn: ChildTurn, demand: Demand | None) -> int:
    """Run the turn; return the exit status: 0, or 1 if the handler raised an Exception."""
    status = 1

    def run(client: Client) -> Outcome:
        nonlocal status
        outcome = _outcome_of(service, turn, demand)
        status = 0
        return outcome

    counters = service.counters
    before = counters.counted_in_child()
    received, sent = counters.bytes_received, counters.bytes_sent
    parks = service.turns.serve_by(run, turn.client) is PARK
    left = counters.since(before) | (PARKS if parks else 0)
    turn.mark.leave(left, counters.bytes_received - received, counters.bytes_sent - sent)
    return status


def _outcome_of(service: Service, turn: ChildTurn, demand: Demand | None) -> Outcome:
    client = turn.client
    if turn.keeps is not None:
        return service.transport.run_kept(client, turn.keeps)
    if client.state is ENDING:
        return _end(service, client)
    if turn.returns:
        return _run_one_turn(service, turn, demand)
    service.server.finish_request(client.request, client.address)
    return END


def _end(service: Service, client: Client) -> Outcome:
    """Make the handler of a client who was parked, for what it does at the end."""
    goodbye = client.handler.says_goodbye
    client.handler = None
    if service.turns.open_handler(client) is not None and goodbye:
        say_goodbye(service, client)
    return END


def _run_one_turn(service: Service, turn: ChildTurn, demand: Demand | None) -> Outcome:
    client, turns = turn.client, service.turns
    client.handler = None
    handler = turns.open_handler(client)
    if handler is None:
        return END
    as_made = _what_it_works_with(handler)
    linger = service.limits.linger * (lingering.FIRST_LINGER if turn.is_first else 1)
    outcome = GO_ON
    # What this child has read cannot go back to its parent, whoever waits there.
    while outcome is GO_ON:
        outcome = turns.run_lingering(client, linger, demand, turn.mark)
    if outcome is PARK and _what_it_works_with(handler) != as_made:
        # The next child would make one without what was done to this.
        return run_alone(client, turns.traits)
    return outcome


def _what_it_works_with(handler: Any) -> tuple[Any, ...]:
    """What of a handler is not to be made anew once it was changed."""
    rfile, wfile = handler.rfile, handler.wfile
    # A file that the program has given an attribute is of another type.
    return rfile, type(rfile), wfile, type(wfile), handler.handle_one_request
