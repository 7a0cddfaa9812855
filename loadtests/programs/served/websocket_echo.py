"""websocket-server: an echo, in capitals."""

import sys
from typing import Any

from websocket_server import WebsocketServer


def answer(client: Any, server: Any, message: str) -> None:
    server.send_message(client, message.upper())


if __name__ == "__main__":
    server = WebsocketServer(host="127.0.0.1", port=int(sys.argv[1]))
    server.set_fn_message_received(answer)
    server.run_forever()
