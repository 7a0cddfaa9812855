"""prometheus_client's own server of metrics, in a thread of its."""

import sys

from prometheus_client import Counter, start_http_server

if __name__ == "__main__":
    visits = Counter("visits", "How many there were")
    visits.inc(3)
    _server, thread = start_http_server(int(sys.argv[1]), addr="127.0.0.1")
    thread.join()
