"""python-osc: a threaded TCP server that answers what it is asked."""

import sys

from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_tcp_server import ThreadingOSCTCPServer

if __name__ == "__main__":
    dispatcher = Dispatcher()
    dispatcher.map("/double", lambda address, value: ("/doubled", 2 * value))
    server = ThreadingOSCTCPServer(("127.0.0.1", int(sys.argv[1])), dispatcher)
    server.daemon_threads = True
    server.serve_forever()
