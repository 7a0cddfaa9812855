"""Idle clients are proved served, not merely connected."""

import os
import socket
import socketserver
import threading

import pytest

from greensock.compare.idle.idle_holder import HolderFailed, IdleHolder
from greensock.processes.connections import unaccepted


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


class Shout(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


class HangUp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.recv(100)


class ThreadedServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def serve():
    servers = []

    def start(handler):
        server = ThreadedServer(("127.0.0.1", 0), handler)
        servers.append((server, threading.Thread(target=server.serve_forever, args=(0.02,))))
        servers[-1][1].start()
        return f"tcp://127.0.0.1:{server.server_address[1]}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hold(tmp_path):
    holders = []

    def start(address, expect="same"):
        holders.append(IdleHolder(address, tmp_path, payload="idle\n", expect=expect))
        return holders[-1]

    yield start
    for holder in holders:
        holder.stop()


def test_every_held_client_has_been_answered_and_is_again(serve, hold):
    holder = hold(serve(Echo))
    opened = holder.open(300, patience=5)
    assert (opened.held, opened.unanswered, opened.errors) == (300, 0, {})
    assert holder.lost() == 0
    assert holder.ping(20, patience=5) == (20, 20)
    holder.let_go()
    assert holder.ping(20, patience=5) == (0, 0)


def test_a_reply_that_differs_is_no_proof(serve, hold):
    opened = hold(serve(Shout)).open(3, patience=5)
    assert (opened.held, opened.errors) == (0, {"a reply that differs from what was sent": 3})


@pytest.mark.parametrize("expect", ["line", "len", "any", "regex:ID.E\n$"])
def test_other_replies_are_complete_by_their_rule(serve, hold, expect):
    assert hold(serve(Shout), expect).open(3, patience=5).held == 3


def test_a_server_that_hangs_up_is_an_error_not_a_held_client(serve, hold):
    opened = hold(serve(HangUp)).open(3, patience=5)
    assert (opened.held, sum(opened.errors.values())) == (0, 3)


def test_clients_that_only_the_kernel_accepted_are_not_held(hold):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        opened = hold(address).open(5, patience=0.3)
        assert (opened.held, opened.unanswered) == (0, 5)


def test_the_accept_queue_tells_who_waits(hold):
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        assert unaccepted(address) == 0
        with socket.create_connection(listener.getsockname()):
            assert unaccepted(address) == 1


def test_a_closed_port_is_told_in_words(hold):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    assert hold(address).open(2, patience=1).errors == {"Connection refused": 2}


def test_clients_that_the_server_closed_are_lost(hold, tmp_path):
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(8)

        def answer_once():
            for _ in range(4):
                client, _ = listener.accept()
                with client:
                    client.sendall(client.recv(100))

        thread = threading.Thread(target=answer_once)
        thread.start()
        holder = hold(f"unix:{path}")
        assert holder.open(4, patience=5).held == 4
        thread.join()
    os.unlink(path)
    assert holder.lost() == 4


def test_the_death_of_the_process_is_reported(hold):
    holder = hold("unix:/nowhere")
    holder.process.kill()
    with pytest.raises(HolderFailed, match="SIGKILL"):
        holder.lost()
