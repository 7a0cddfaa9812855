"""jsonrpclib-pelix: JSON-RPC on its pool of threads, in place of ThreadingMixIn's own."""

import sys

from jsonrpclib.SimpleJSONRPCServer import PooledJSONRPCServer
from jsonrpclib.threadpool import ThreadPool

if __name__ == "__main__":
    pool = ThreadPool(max_threads=400, min_threads=10)
    pool.start()
    server = PooledJSONRPCServer(
        ("127.0.0.1", int(sys.argv[1])), thread_pool=pool, logRequests=False
    )
    server.register_function(lambda base, exponent: base**exponent, "pow")
    server.register_function(lambda text: text.upper(), "upper")
    server.register_introspection_functions()
    try:
        server.serve_forever()
    finally:
        pool.stop()
