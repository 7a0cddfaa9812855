"""The cases, in the order in which they are tried."""

from greensock.torture.case import Case
from greensock.torture.cases import (
    crowds,
    datagrams,
    files,
    lines,
    resets,
    silence,
    stopping,
    tls,
)

CASES = (
    Case(silence.silent),
    Case(silence.trickle),
    Case(silence.half_line),
    Case(silence.half_open),
    Case(silence.half_closed),
    Case(lines.endless_line),
    Case(lines.never_reads),
    Case(lines.flood),
    Case(resets.reset_at_accept, judges_log=True),
    Case(resets.reset_mid_request, judges_log=True),
    Case(resets.reset_mid_reply, judges_log=True),
    Case(crowds.connect_flood, judges_log=True),
    Case(crowds.burst, judges_p99=False),
    Case(tls.tls_silent, tls=True),
    Case(tls.tls_half_hello, tls=True),
    Case(tls.tls_garbage, tls=True, judges_log=True),
    Case(files.out_of_files, judges_p99=False, few_files=True),
    Case(stopping.close_during_shutdown, ends_server=True),
    Case(datagrams.oversized_datagrams, datagrams=True, judges_beside=False, judges_log=True),
    Case(datagrams.truncated_datagrams, datagrams=True, judges_beside=False, judges_log=True),
    Case(datagrams.vanished_senders, datagrams=True, judges_beside=False, judges_log=True),
    Case(datagrams.datagram_flood, datagrams=True, judges_beside=False),
)

BY_NAME = {case.name: case for case in CASES}
