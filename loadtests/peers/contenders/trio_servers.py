"""trio: serve_tcp with a handler that echoes what each receive brings, and a UDP socket in a loop.

trio ships no line reader, so the bytes are echoed as they come. serve_tcp turns Nagle's algorithm
off.
"""

from functools import partial

import trio

from .announcing import announce, run_variant


async def echo_chunks(stream: trio.SocketStream) -> None:
    try:
        async for data in stream:
            await stream.send_all(data)
    except trio.BrokenResourceError:
        pass


async def serve_stream() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    announce("tcp", listeners[0].socket.getsockname())
    await trio.serve_listeners(echo_chunks, listeners)


async def serve_datagrams() -> None:
    server = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await server.bind(("127.0.0.1", 0))
    announce("udp", server.getsockname())
    while True:
        data, address = await server.recvfrom(65_536)
        await server.sendto(data, address)


if __name__ == "__main__":
    run_variant(
        {"stream": partial(trio.run, serve_stream), "udp": partial(trio.run, serve_datagrams)}
    )
