"""Where greensock is allowed to differ from CPython's own tests, and why.

Each entry is run by itself in every mode it is listed for, and must fail there: one that begins to
pass is to be deleted.
"""

from dataclasses import dataclass

UNPATCHED = "unpatched"
PATCHED_BEFORE = "patched before the import"
PATCHED_AFTER = "patched after the import"
LIBUV = "libuv"
PATCHED_LIBUV = "libuv, patched before the import"

#: Every mode: when the process is patched, and on which loop gevent runs.
MODES = {
    UNPATCHED: ("never", "libev-cext"),
    PATCHED_BEFORE: ("before", "libev-cext"),
    PATCHED_AFTER: ("after", "libev-cext"),
    LIBUV: ("never", "libuv"),
    PATCHED_LIBUV: ("before", "libuv"),
}
PATCHED = (PATCHED_BEFORE, PATCHED_AFTER, PATCHED_LIBUV)


@dataclass(frozen=True)
class Difference:
    """A test of CPython's that fails on greensock, in which modes, and the reason.

    `standard_library_fails` says that the same test fails on socketserver itself in the same modes,
    so that the difference is gevent's; the control test proves it.
    """

    test: str
    modes: tuple[str, ...]
    reason: str
    standard_library_fails: bool = False


DIFFERENCES = (
    Difference(
        "test.test_socketserver.MiscTestCase.test_all",
        tuple(MODES),
        "counts the names whose __module__ is 'socketserver', and those of greensock are its own",
    ),
    Difference(
        "test.test_socketserver.SocketWriterTest.test_write",
        PATCHED,
        "sends a signal to the thread get_ident() names, which is a greenlet when patched",
        standard_library_fails=True,
    ),
    Difference(
        "test.test_wsgiref.IntegrationTests.test_interrupted_write",
        PATCHED,
        "sends a signal to the thread get_ident() names, which is a greenlet when patched",
        standard_library_fails=True,
    ),
)
