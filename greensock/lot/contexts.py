"""What a client's handler has put into context variables, from one turn to the next.

A client whose turns run here and there has one context all the same: what its `setup()` keeps in a
ContextVar, or a turn does, is there in each later turn, and in nobody else's. Most keep nothing,
and for them there is nothing here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context, copy_context
from typing import TypeVar

from greenlet import getcurrent

from greensock.lot.client import Client

_Result = TypeVar("_Result")


class Contexts(dict[Client, Context]):
    """The contexts of the clients who keep something."""

    __slots__ = ()

    def take(self, job: object) -> Context | None:
        """The context of a client who has kept something; of nothing else that is run."""
        return self.pop(job, None) if type(job) is Client else None

    def keep(self, job: object, context: Context) -> None:
        """After a turn that ran in `context`: keep it, if the client has turns to come."""
        if type(job) is Client and job.handler is not None and len(context):
            self[job] = context


def run_in_thread(contexts: Contexts, client: Client, run: Callable[[], object]) -> None:
    """Run a turn in a thread that was started for it, and has a context of its own."""
    context = contexts.pop(client, None)
    if context is not None:
        context.run(run)
        contexts.keep(client, context)
        return
    before = copy_context()
    run()
    after = copy_context()
    if after != before:
        contexts.keep(client, after)


def run_apart(contexts: Contexts, client: Client | None, run: Callable[[], _Result]) -> _Result:
    """Run something for a client in the greenlet that also serves others.

    With no client, for one whose only turn it is. It begins in a copy of the greenlet's own
    context, which it does not change.
    """
    me = getcurrent()
    own = me.gr_context
    context = None if client is None else contexts.pop(client, None)
    # A copy that nobody changes is equal to its original, at the cost of a look at one address.
    me.gr_context = context or (None if own is None else own.copy())
    try:
        return run()
    finally:
        context, me.gr_context = me.gr_context, own
        if context is not None and context != own:
            contexts.keep(client, context)
