"""xmlrpc.server, threaded, with keep-alive."""

import sys
from socketserver import ThreadingMixIn
from xmlrpc.server import SimpleXMLRPCRequestHandler, SimpleXMLRPCServer


class KeepAlive(SimpleXMLRPCRequestHandler):
    protocol_version = "HTTP/1.1"


class Server(ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", int(sys.argv[1])), KeepAlive, logRequests=False) as server:
        server.register_introspection_functions()
        server.register_multicall_functions()
        server.register_function(lambda base, exponent: base**exponent, "pow")
        server.register_function(lambda text: text.upper(), "upper")
        server.serve_forever()
