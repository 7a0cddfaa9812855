"""Options that change nothing beside the others: refused, since their user counts on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from greensock.arguments.usage import UsageError
from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.plan import Output, Plan

_OWN_LOAD = "a locustfile brings its own load"

_Why = Callable[[Plan, Output], str | None]


def _if_custom(plan: Plan, output: Output) -> str | None:
    return _OWN_LOAD if plan.locustfile is not None else None


def _payload_size(plan: Plan, output: Output) -> str | None:
    return "http asks for a page" if plan.scenario == "http" else _if_custom(plan, output)


def _arrivals(plan: Plan, output: Output) -> str | None:
    closed = plan.rate == 0 and not plan.stages and not plan.own_rate
    return "in a closed loop each user asks when it is answered (--rate)" if closed else None


def _expect(plan: Plan, output: Output) -> str | None:
    if plan.locustfile is not None and plan.idle_payload() is None:
        return f"{_OWN_LOAD}, and without --idle-probe idle clients expect nothing"
    return None


def _idle_probe(plan: Plan, output: Output) -> str | None:
    return None if plan.needs_idle_holder() else "there are no idle clients (--idle)"


def _idle_source(plan: Plan, output: Output) -> str | None:
    return None if plan.idle else "there are no idle clients (--idle)"


def _max_threads(plan: Plan, output: Output) -> str | None:
    return None if "threading" in plan.contenders else "threading is not compared (--mixins)"


def _max_children(plan: Plan, output: Output) -> str | None:
    forks = any(Contender(name).kind == "forking" for name in plan.contenders)
    return None if forks else "nothing that forks is compared (--mixins)"


def _tags(plan: Plan, output: Output) -> str | None:
    return "only the tasks of a locustfile have tags" if plan.locustfile is None else None


def _files(plan: Plan, output: Output) -> str | None:
    return "--only-summary writes no files" if output.folder is None else None


_RULES: dict[str, _Why] = {
    "arrivals": _arrivals,
    "exclude_tags": _tags,
    "expect": _expect,
    "idle_probe": _idle_probe,
    "idle_source": _idle_source,
    "keep_logs": _files,
    "max_children": _max_children,
    "max_threads": _max_threads,
    "out": _files,
    "payload_size": _payload_size,
    "seed": _if_custom,
    "tags": _tags,
    "timeout": _if_custom,
}


def refuse(said: Iterable[str], plan: Plan, output: Output) -> None:
    """Look at the options that were given on the command line itself.

    Not at those of pyproject.toml, which stand there for other command lines too.

    Raises:
        UsageError: one of them changes nothing.
    """
    for name in said:
        why: Any = _RULES.get(name, lambda plan, output: None)
        if (reason := why(plan, output)) is not None:
            raise UsageError(f"--{name.replace('_', '-')} would do nothing: {reason}")
