"""The limit: an epoll loop over non-blocking sockets that echoes the bytes, and nothing around it.

No line reader, no handler, no timeouts, no errors but a reset; Nagle's algorithm as the kernel has
it. What a pure-Python server could reach here if its own cost were nothing.
"""

import select
import socket

from .announcing import announce, run_variant

BUFFER_SIZE = 65_536  # bytes; what a client may have sent since its last turn


def serve_stream() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=socket.SOMAXCONN)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    announce("tcp", listener.getsockname())
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                _accept(listener, poll, clients)
                continue
            client = clients[fd]
            try:
                data = client.recv(BUFFER_SIZE)
                if data:
                    _send_all(client, data)
                    continue
            except ConnectionError:
                pass
            # Closing the only descriptor of a socket also takes it out of the epoll set.
            clients.pop(fd).close()


def _accept(listener: socket.socket, poll: select.epoll, clients: dict[int, socket.socket]) -> None:
    for _ in range(16):
        try:
            client, _ = listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)


def _send_all(client: socket.socket, data: bytes) -> None:
    # An echo client that never reads would block the loop here; the limit needs no better manners.
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[client.send(rest) :]
        except BlockingIOError:
            writable = select.poll()  # select() refuses descriptors above 1023
            writable.register(client, select.POLLOUT)
            writable.poll()


def serve_datagrams() -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.setblocking(False)
    poll = select.epoll()
    poll.register(server, select.EPOLLIN)
    announce("udp", server.getsockname())
    while True:
        poll.poll()
        try:
            while True:
                data, address = server.recvfrom(BUFFER_SIZE)
                server.sendto(data, address)
        except BlockingIOError:
            continue


if __name__ == "__main__":
    run_variant({"stream": serve_stream, "udp": serve_datagrams})
