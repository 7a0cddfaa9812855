"""What no thread may be amid when another one forks.

The child has only the thread that forks, and whatever lock another one held it holds there for
ever: that of a module that it was importing, say.
"""

from __future__ import annotations

import _thread
import os
from typing import Any

#: Held meanwhile; a fork waits for it. A native lock, which is not patched, and re-entrant: a
#: signal handler may come in between.
fork_gate: Any = _thread.RLock()

os.register_at_fork(
    before=fork_gate.acquire,
    after_in_parent=fork_gate.release,
    after_in_child=fork_gate.release,
)
