"""The servers under comparison, one module per family; each runs alone in its own process.

``python -m loadtests.peers.contenders.MODULE VARIANT`` listens on a free port of 127.0.0.1, prints
one line, ``listening on tcp://127.0.0.1:PORT`` (or ``udp://``), and serves until SIGTERM.

These modules import nothing of the benchmark but `announcing`: a contender pays, in memory and in
start-up time, for its own imports only.
"""
