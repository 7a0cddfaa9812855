"""What a child does, from its fork to its end."""

from __future__ import annotations

import functools
import os
from typing import Any, NoReturn

from greensock import forks_of_programs, kept_turns, lingering_turns, process_servers, turns
from greensock.goodbyes import say_goodbye
from greensock.hub import children, lot
from greensock.hub.lot import ENDING, Client
from greensock.mixins.child_turns import PARKS, ChildTurn
from greensock.net import listening
from greensock.net.cooperative_sockets import CooperativeSocket
from greensock.net.request_sockets import OriginalSocket, is_request_socket
from greensock.single_requests import run_alone
from greensock.turns import END, GO_ON, PARK, Outcome


def become_child(server: Any, turn: ChildTurn) -> NoReturn:
    """Run a turn of `server` in this freshly forked process, and end it."""
    try:
        children.run_in_child(functools.partial(_work, server, turn))
    finally:
        os._exit(1)


def _work(server: Any, turn: ChildTurn) -> NoReturn:
    status = 1
    try:
        lot.leave_to_parent()
        _leave_parent(server, turn.client)
        status = server._gs_run_child_turn(turn)
    finally:
        os._exit(status)


def _leave_parent(server: Any, client: Client) -> None:
    """Close what is the parent's business: every listener, and every other client."""
    listener = getattr(server, "socket", None)
    others = _clients_of(server, client.request)
    if server._gs_is_stream():
        others.append(listener)
    for other in process_servers.others(server):
        others += _clients_of(other, None)
        if other.__dict__.get("socket") is not listener:
            others.append(other.__dict__.get("socket"))
    children.close_descriptors(listening.abandon(others))
    forks_of_programs.leave_all_to_parent()
    for sock in client.request if isinstance(client.request, tuple) else (client.request,):
        if isinstance(sock, CooperativeSocket):
            sock.forget_hub()
        elif not isinstance(sock, bytes | OriginalSocket):
            children.take_along(sock)


def _clients_of(server: Any, kept: Any) -> list[Any]:
    """The requests of a server's clients, all but `kept`; here it serves no more.

    Those that the lot knows the numbers of are closed at once.
    """
    serving = server._gs_serving
    clients: list[Client] = list(server._gs_suspended)
    requests = []
    if serving is not None:
        clients += [each for each in serving.ready if each.lot is None]
        if serving.lot.descriptors is None:
            requests += serving.lot.clients
        else:
            # The lot holds no others: not what a program's get_request() puts around a socket.
            serving.lot.descriptors.close_all_but(kept if is_request_socket(kept) else None)
    requests += [each.request for each in clients if each.request is not kept]
    server._gs_serving, server._gs_suspended = None, []
    return requests


def run_turn(server: Any, turn: ChildTurn) -> int:
    """Run the turn; return the exit status: 0, or 1 if the handler raised an Exception."""
    status = 1

    def run(_: Any, client: Client) -> Outcome:
        nonlocal status
        outcome = _outcome_of(server, turn)
        status = 0
        return outcome

    counters = server._gs_counters
    before = counters.counted_in_child()
    received, sent = counters.bytes_received, counters.bytes_sent
    parks = turns.serve_turn(server, turn.client, run) is PARK
    left = counters.since(before) | (PARKS if parks else 0)
    turn.mark.leave(left, counters.bytes_received - received, counters.bytes_sent - sent)
    return status


def _outcome_of(server: Any, turn: ChildTurn) -> Outcome:
    client = turn.client
    if turn.keeps is not None:
        if server._gs_tls is not None:
            return server._gs_tls.run_turns(client, turn.keeps)  # type: ignore[no-any-return]
        return kept_turns.run_turns(server, client, turn.keeps)
    if client.state is ENDING:
        return _end(server, client)
    if turn.returns:
        return _run_one_turn(server, turn)
    server.finish_request(client.request, client.address)
    return END


def _end(server: Any, client: Client) -> Outcome:
    """Make the handler of a client who was parked, for what it does at the end."""
    goodbye = client.handler.says_goodbye
    client.handler = None
    if turns.open_handler(server, client) is not None and goodbye:
        say_goodbye(server, client)
    return END


def _run_one_turn(server: Any, turn: ChildTurn) -> Outcome:
    client = turn.client
    client.handler = None
    handler = turns.open_handler(server, client)
    if handler is None:
        return END
    as_made = _what_it_works_with(handler)
    linger = server._gs_limits.linger * (lingering_turns.FIRST_LINGER if turn.is_first else 1)
    outcome = GO_ON
    # What this child has read cannot go back to its parent, whoever waits there.
    while outcome is GO_ON:
        outcome = lingering_turns.run_lingering_turn(
            server, client, linger, server._gs_crowd, turn.mark
        )
    if outcome is PARK and _what_it_works_with(handler) != as_made:
        # The next child would make one without what was done to this.
        return run_alone(server, client)
    return outcome


def _what_it_works_with(handler: Any) -> tuple[Any, ...]:
    """What of a handler is not to be made anew once it was changed."""
    rfile, wfile = handler.rfile, handler.wfile
    # A file that the program has given an attribute is of another type.
    return rfile, type(rfile), wfile, type(wfile), handler.handle_one_request
