"""The options of `greensock compare`: from the command line, pyproject.toml and the scenario.

What the command line does not say comes from [tool.greensock.compare] in ./pyproject.toml, whose
keys are the long options, and then from the scenario's defaults.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from pathlib import Path
from typing import Any, NoReturn

from greensock.arguments.usage import UsageError
from greensock.compare.planning import no_effect
from greensock.compare.planning.plan import (
    DEFAULT_TARGET,
    Output,
    Plan,
    check_limits,
    choose_contenders,
    choose_pinning,
    choose_program,
    choose_scenario,
    parse_seconds,
)
from greensock.compare.planning.steps import search_stages
from greensock.loadtest.schedule import parse_stages

SECTION = "tool.greensock.compare"

# Options that are the plan's fields as they are, with the plan's own defaults.
AS_SAID = (
    "arrivals",
    "idle_probe",
    "idle_source",
    "max_children",
    "max_threads",
    "processes",
    "run_time",
    "seed",
    "stop_timeout",
    "timeout",
    "warmup",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option. All default to None: not said here."""
    parser.add_argument(
        "target",
        nargs="?",
        help=f"handler or server class, package.module:Name or path/file.py:Name "
        f"(default: {DEFAULT_TARGET})",
    )
    add_contender_options(parser.add_argument_group("what is compared"))
    add_load_options(parser.add_argument_group("the load"))
    add_measuring_options(parser.add_argument_group("measuring"))
    add_output_options(parser.add_argument_group("results"))


def add_contender_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--program",
        metavar="TEXT",
        help="a whole program in place of a target, as after `python`: '-m http.server {port}'; "
        "under greensock run, and with --peers on the standard library and monkey-patched; its "
        "scenario is http unless said",
    )
    group.add_argument("--mixins", metavar="A,B", help="default: greenlet,threading,forking,none")
    group.add_argument(
        "--peers",
        action="store_true",
        default=None,
        help="also the standard library's servers, monkey-patched ones, and gevent's StreamServer; "
        "where --mixins names some of them, these alone",
    )
    group.add_argument(
        "--set",
        action="append",
        dest="settings",
        metavar="NAME=VALUE",
        help="a class attribute of the server or the handler; may be repeated",
    )
    group.add_argument("--max-children", type=positive, help="max_children under forking")
    group.add_argument("--max-threads", type=positive, help="max_threads under threading")


def add_load_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--scenario",
        help="echo, line, churn, http, large, wait, compute, mixed, udp, unix "
        "(default: echo, or line for a target of your own)",
    )
    group.add_argument(
        "-f",
        "--locustfile",
        nargs="+",
        metavar="FILE",
        help="a locustfile of your own, then the user classes to run (default: all)",
    )
    group.add_argument("-u", "--users", type=positive, help="concurrent users (default: 50)")
    group.add_argument("-r", "--spawn-rate", type=positive_number, help="users started per second")
    group.add_argument("--processes", type=positive, help="locust processes (default: 1)")
    group.add_argument("-T", "--tags", action="append", help="run only tasks with this tag")
    group.add_argument("-E", "--exclude-tags", action="append", help="leave out tasks with it")
    group.add_argument(
        "--rate", help="requests/s of all users together; 0: a closed loop; max: find the highest"
    )
    group.add_argument("--arrivals", choices=["constant", "poisson"], help="default: constant")
    group.add_argument("--stages", help="rates over time, such as 10s:1000,10s:1000-4000")
    group.add_argument("--idle", type=count, help="idle clients held beside the load")
    group.add_argument(
        "--idle-probe",
        type=probe,
        metavar="TEXT",
        help=r"what an idle client says once to prove that it is served, such as 'PING\r\n'; "
        "none: nothing, it counts once accepted (default: the scenario's; none with -f)",
    )
    group.add_argument(
        "--idle-source", metavar="ADDRESS", help="where they come from, such as 127.0.1.1/24"
    )
    group.add_argument("--payload-size", type=positive, metavar="BYTES", help="of each request")
    group.add_argument("--expect", help="a reply is whole: same, line, len, any, regex:PATTERN")
    group.add_argument("--timeout", type=seconds, help="for one exchange (default: 2s)")
    group.add_argument("--seed", type=int, help="of the arrivals' phases and gaps")


def add_measuring_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-t", "--run-time", type=seconds, help="measured, per trial (default: 4s)")
    group.add_argument("--warmup", type=seconds, help="before that (default: 1s)")
    group.add_argument("-s", "--stop-timeout", type=seconds, help="locust's, at the end")
    group.add_argument("--rounds", type=positive, help="of all contenders (default: 3)")
    group.add_argument(
        "--sample-interval", type=interval, help="of the server's use, 500ms or more (default: 1s)"
    )
    group.add_argument("--pin", help="CPUs: auto, none or SERVER:GENERATOR such as 0:1-3")


def add_output_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-o", "--out", metavar="DIR", help="default: greensock-report")
    group.add_argument("--json", metavar="FILE", help="the results as data; - for stdout")
    group.add_argument("--html", metavar="FILE", help="another copy of the report")
    group.add_argument("--no-plots", action="store_true", default=None, help="table and data only")
    group.add_argument("--only-summary", action="store_true", default=None, help="write no files")
    group.add_argument("--keep-logs", action="store_true", default=None, help="in DIR/logs")
    group.add_argument("--against", metavar="FILE", help="an earlier result.json: what changed?")
    group.add_argument(
        "--threshold",
        action="append",
        metavar="EXPR",
        help="such as p99<50 or greenlet:kib_per_idle<2; if crossed, exit status 99",
    )
    group.add_argument(
        "--fail-on-flags",
        action="store_true",
        default=None,
        help="a flag, or what got worse, counts as crossed",
    )


def positive(text: str) -> int:
    value = count(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text}")
    return value


def count(text: str) -> int:
    try:
        value = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be 0 or a positive integer, not {text!r}")
    return value


def positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def seconds(text: str) -> float:
    try:
        value = parse_seconds(text)
    except ValueError:
        value = 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 15s, 500ms or 1m, not {text!r}")
    return value


def interval(text: str) -> float:
    value = seconds(text)
    if value < 0.5:
        raise argparse.ArgumentTypeError(f"must be 500ms or more, not {text!r}")
    return value


def probe(text: str) -> str:
    """The text with its escapes such as \\r, as one character for each byte."""
    try:
        decoded = text.encode().decode("unicode_escape")
        decoded.encode("latin-1")
    except UnicodeError:
        decoded = ""
    if not decoded:
        raise argparse.ArgumentTypeError(f"must be some text or none, not {text!r}")
    return decoded


class SectionParser(argparse.ArgumentParser):
    """Reads the section of pyproject.toml as if it were a command line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"pyproject.toml, [{SECTION}]: {message}")


def read_section(path: Path) -> argparse.Namespace:
    """The options in pyproject.toml; none without such a file or section.

    Raises:
        UsageError: the file is not TOML, or the section holds what is no option.
    """
    parser = SectionParser(add_help=False, allow_abbrev=False)
    add_options(parser)
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        table = {}
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}") from None
    for name in SECTION.split("."):
        table = table.get(name, {})
    arguments: list[str] = []
    for key, value in table.items():
        if key == "target":
            arguments.insert(0, str(value))
        elif value is True:
            arguments.append(f"--{key}")
        elif key == "locustfile" and isinstance(value, list):
            arguments += [f"--{key}", *map(str, value)]
        elif value is not False:
            values = value if isinstance(value, list) else [value]
            repeated = key in ("set", "tags", "exclude-tags", "threshold")
            texts = map(str, values) if repeated else [",".join(map(str, values))]
            arguments += [f"--{key}={text}" for text in texts]
    return parser.parse_args(arguments)


def said_on_command_line(options: argparse.Namespace) -> dict[str, Any]:
    said = {name: value for name, value in vars(options).items() if value is not None}
    # `-f FILE TARGET`: argparse takes the target for one more user class.
    targets = [text for text in said.get("locustfile", ()) if ":" in text]
    if targets and "target" not in said:
        said["target"] = targets[0]
        said["locustfile"] = [text for text in said["locustfile"] if text not in targets]
    return said


def understand(options: argparse.Namespace, open_files: int) -> tuple[Plan, Output]:
    """Plan and output for what the user said.

    `open_files` is how many files a process may have open.

    Raises:
        UsageError: an option is wrong, or does not go with another one.
    """
    said = said_on_command_line(options)
    said_here = tuple(said)
    for name, value in vars(read_section(Path("pyproject.toml"))).items():
        if value is not None:
            said.setdefault(name, value)
    locustfile = said.get("locustfile", [None])
    program = said.get("program")
    if program is not None and locustfile[0] is None:
        said["scenario"] = choose_program(program, said.get("target"), said.get("scenario"))
    scenario = choose_scenario(said.get("scenario"), said.get("target"), locustfile[0])
    custom = locustfile[0] is not None
    if custom and not Path(locustfile[0]).is_file():
        raise UsageError(f"--locustfile {locustfile[0]}: no such file")
    rate, stages = understand_rate(said, 0.0 if custom else scenario.rate)
    server_cpus, generator_cpus = choose_pinning(said.get("pin", "auto"))
    users = said.get("users", scenario.users)
    contenders = choose_contenders(said.get("mixins"), bool(said.get("peers")), program is not None)
    plan = Plan(
        target=program or said.get("target", scenario.target),
        is_program=program is not None,
        contenders=contenders,
        scenario="custom" if custom else scenario.name,
        locustfile=str(Path(locustfile[0]).resolve()) if custom else None,
        user_classes=tuple(locustfile[1:]),
        tags=tuple(said.get("tags", ())),
        exclude_tags=tuple(said.get("exclude_tags", ())),
        transport=scenario.transport,
        users=users,
        spawn_rate=said.get("spawn_rate", max(100.0, users / 2)),
        rate=0.0 if custom and "rate" not in said else rate,
        own_rate=custom and "rate" not in said and not stages,
        stages=stages,
        rounds=said.get("rounds", 1 if rate is None else 3),
        idle=said.get("idle", 0 if custom else scenario.idle),
        payload_size=said.get("payload_size", scenario.payload_size),
        expect=understand_expect(said.get("expect", scenario.expect)),
        settings=tuple(said.get("settings", ())),
        sample_interval=said.get("sample_interval", 1.0),
        server_cpus=server_cpus,
        generator_cpus=generator_cpus,
        thresholds=tuple(said.get("threshold", ())),
        **{name: said[name] for name in AS_SAID if name in said},
    )
    check_limits(plan, open_files)
    output = understand_output(said)
    no_effect.refuse(said_here, plan, output)
    return plan, output


def understand_rate(said: dict[str, Any], default: float) -> tuple[float | None, Any]:
    """(rate, stages): None is the search for the highest rate."""
    if "stages" in said:
        if "rate" in said:
            raise UsageError("--stages replaces --rate: give one of them")
        try:
            return 0.0, parse_stages(said["stages"])
        except ValueError as error:
            raise UsageError(f"--{error}") from None
    text = str(said.get("rate", default))
    if text == "max":
        return None, search_stages(said.get("processes", 1), default)
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < float("inf"):
        raise UsageError(f"--rate must be a number of at least 0 or max, not {text!r}")
    return rate, ()


def understand_expect(text: str) -> str:
    if text in ("same", "line", "len", "any"):
        return text
    if text.startswith("regex:"):
        try:
            re.compile(text.removeprefix("regex:").encode())
        except re.error as error:
            raise UsageError(f"--expect {text}: {error}") from None
        return text
    raise UsageError(f"--expect must be same, line, len, any or regex:PATTERN, not {text!r}")


def understand_output(said: dict[str, Any]) -> Output:
    folder = None if said.get("only_summary") else Path(said.get("out", "greensock-report"))
    return Output(
        folder=folder,
        json_file=said.get("json"),
        html_file=said.get("html"),
        plots=not said.get("no_plots"),
        keep_logs=bool(said.get("keep_logs")),
        fail_on_flags=bool(said.get("fail_on_flags")),
        against=said.get("against"),
    )
