"""asyncio's streams, Protocol and DatagramProtocol; under uvloop with the prefix ``uvloop-``.

The streams read lines and drain after each, as the documentation's echo server does; the protocols
echo the bytes as they come. Both loops turn Nagle's algorithm off by themselves; the listen queue
is raised from asyncio's 100, so that no crowd waits for TCP to retransmit.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from .announcing import announce, run_variant


async def echo_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoDatagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        self.transport.sendto(data, address)


async def serve_streams() -> None:
    server = await asyncio.start_server(echo_lines, "127.0.0.1", 0, backlog=socket.SOMAXCONN)
    announce("tcp", server.sockets[0].getsockname())
    await server.serve_forever()


async def serve_protocol() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=socket.SOMAXCONN)
    announce("tcp", server.sockets[0].getsockname())
    await server.serve_forever()


async def serve_datagrams() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(EchoDatagrams, ("127.0.0.1", 0))
    announce("udp", transport.get_extra_info("sockname"))
    await loop.create_future()


SERVERS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    "streams": serve_streams,
    "protocol": serve_protocol,
    "udp": serve_datagrams,
}


def run(name: str, loop_name: str) -> None:
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop_name == "uvloop":
        import uvloop  # only its own variants pay for importing it

        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(SERVERS[name]())


if __name__ == "__main__":
    run_variant(
        {
            f"{prefix}{server}": partial(run, server, loop)
            for server in SERVERS
            for prefix, loop in (("", "asyncio"), ("uvloop-", "uvloop"))
        }
    )
