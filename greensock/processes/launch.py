"""Run a command that dies with its parent: `python launch.py PARENT_PID CPUS FILES COMMAND...`.

A script of its own instead of `preexec_fn`, which may deadlock in a process with threads.
CPUS is a comma-separated list, FILES how many it may have open; `-` leaves either as it is. The
command replaces this process, so its process id is the one the parent already knows.
"""

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, cpus: str, files: str, command: list[str]) -> None:
    if sys.platform == "linux":
        # Kept across exec. SIGTERM and not SIGKILL, so that a server may still unlink its socket.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it died before the line above: no signal will come
            raise SystemExit(1)
        if cpus != "-":
            os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    if files != "-":
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(files), int(files)))
    # This interpreter ignores them, and what is ignored stays so: no other program expects that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise SystemExit(f"{command[0]}: {error.strerror}") from error


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
