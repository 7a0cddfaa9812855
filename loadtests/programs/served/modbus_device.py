"""uModbus: a device whose registers hold twice their addresses, on a threaded server."""

import sys
from socketserver import ThreadingTCPServer

from umodbus.server.tcp import RequestHandler, get_server

if __name__ == "__main__":
    ThreadingTCPServer.allow_reuse_address = True
    ThreadingTCPServer.daemon_threads = True
    server = get_server(ThreadingTCPServer, ("127.0.0.1", int(sys.argv[1])), RequestHandler)

    @server.route(slave_ids=[1], function_codes=[3], addresses=list(range(100)))  # type: ignore[untyped-decorator]
    def read(slave_id: int, function_code: int, address: int) -> int:
        return 2 * address

    server.serve_forever()
