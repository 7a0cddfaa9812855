"""A receiver of logging.handlers.SocketHandler, and logging.config.listen beside it.

Every record received is logged here, to standard output; the configuration that listen() receives
may change how.
"""

import logging
import logging.config
import pickle
import socketserver
import struct
import sys


class Records(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while len(head := self.rfile.read(4)) == 4:
            (length,) = struct.unpack(">L", head)
            record = logging.makeLogRecord(pickle.loads(self.rfile.read(length)))
            logging.getLogger(record.name).handle(record)
            # So that a client can tell that it was received, which the protocol does not.
            self.wfile.write(b"+")


class Receiver(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stdout, format="%(name)s said %(message)s")
    port = int(sys.argv[1])
    configurations = logging.config.listen(port + 1)
    configurations.daemon = True
    configurations.start()
    with Receiver(("127.0.0.1", port), Records) as server:
        server.serve_forever()
