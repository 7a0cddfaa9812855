"""Command-line options for locustfiles that let their user choose the rate."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from locust import User, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import greensock.loadtest.collector  # noqa: F401  --collect, also for users of other protocols
from greensock.loadtest.schedule import Schedule, parse_stages

_schedules: list[Schedule] = []
_default_rate = 0.0


def schedule_from_command_line(rate: float = 0.0) -> Schedule:
    """A Schedule whose rate is shared by all users of the test, set by options of locust.

    Adds --rate (requests/s of all users together; 0: each asks again as soon as it is answered),
    --arrivals (constant or poisson) and --stages (10s:1000,10s:1000-4000), which are also fields
    of the web UI. In a distributed test the rate is that of all workers together.

    Args:
        rate: the default of --rate; of several calls, the first one's.
    """
    global _default_rate
    if not _schedules:
        _default_rate = rate
        events.init_command_line_parser.add_listener(_add_options)
        events.test_start.add_listener(_on_test_start)
        events.init.add_listener(_on_init)
    schedule = Schedule(shared_by=total_users)
    _schedules.append(schedule)
    return schedule


def has_schedules() -> bool:
    """Whether anything asks at the rate of the command line."""
    return bool(_schedules)


def total_users(user: User) -> int:
    """How many users the test has, or will have when all are spawned, on all workers."""
    environment: Environment = user.environment
    runner = environment.runner
    assert runner is not None
    total = runner.target_user_count
    if isinstance(runner, WorkerRunner):
        # A worker's own number is that of its share; the master tells the other (see below).
        total = getattr(environment.parsed_options, "total_users", 0) or total
    return max(1, total)


def rate_number(text: str) -> float:
    """The type of a --rate."""
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, not {text!r}")
    return rate


def stages_text(text: str) -> str:
    """The type of --stages: checked here, but kept as text, as the web UI and workers need."""
    try:
        if text:
            parse_stages(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _add_options(parser: LocustArgumentParser) -> None:
    parser.add_argument(
        "--rate",
        type=rate_number,
        default=_default_rate,
        env_var="GREENSOCK_RATE",
        help="requests/s of all users together; 0: each as soon as the last is answered",
    )
    parser.add_argument(
        "--arrivals",
        choices=["constant", "poisson"],
        default="constant",
        env_var="GREENSOCK_ARRIVALS",
        help="requests evenly spaced, or independent of each other",
    )
    parser.add_argument(
        "--stages",
        type=stages_text,
        default="",
        metavar="STAGES",
        env_var="GREENSOCK_STAGES",
        help="rates over time instead of --rate: 10s:1000,10s:1000-4000 (a rate, a ramp)",
    )


def _on_init(environment: Environment, **_: Any) -> None:
    # The number of users may change while the test runs; this event reaches the workers, too.
    events.spawning_complete.add_listener(partial(_set_total_users, environment))


def _set_total_users(environment: Environment, user_count: int, **_: Any) -> None:
    if environment.parsed_options is not None:
        environment.parsed_options.total_users = user_count


def _on_test_start(environment: Environment, **_: Any) -> None:
    options = environment.parsed_options
    runner = environment.runner
    if options is None:
        return
    if isinstance(runner, MasterRunner):
        # Sent to the workers with the spawn message that follows, as all of its options are.
        options.total_users = runner.target_user_count
    stages = parse_stages(options.stages) if options.stages else ()
    for schedule in _schedules:
        schedule.configure(float(options.rate), arrivals=options.arrivals, stages=stages)
