"""README and the guides say what is so: commands, options and names are tried as they stand."""

import json
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import greensock.cli
from greensock.cli import compare, run, torture
from greensock.compare.planning.options import understand
from greensock.compare.results.metrics import METRICS
from greensock.compare.results.thresholds import parse_threshold
from greensock.compare.scenarios import SCENARIOS

from .readme_blocks import (
    BLOCKS,
    DOCUMENTS,
    FRONT,
    GREENSOCK,
    PROGRAMS,
    README,
    address_of,
    commands,
    served,
    started,
    write_programs,
)
from .separate_process import REPOSITORY, STUCK

SET_UP = [line for line in FRONT.split("\n") if line.startswith("python3 -m venv")]
LOAD_PROGRAMS = sorted(set(re.findall(r"python -m (loadtests\.\w+)", README)))
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")

LOCUST = (sys.executable, "-m", "locust")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    write_programs(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", commands("greensock serve"))
def test_serve_command_serves(folder: Path, command: str) -> None:
    arguments = shlex.split(command.replace("9999", "0").replace("9100", "0"))[1:]
    if "--bind" not in arguments:
        arguments += ["--bind", "127.0.0.1:0"]
    with started((*GREENSOCK, *arguments), folder) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert re.fullmatch(r"listening on (tcp://|tls://|udp://|unix:)\S+\n", ready), ready
        process.send_signal(signal.SIGTERM)
        assert process.wait(STUCK) == 0


def test_top_commands_show_a_server(folder: Path) -> None:
    serve_command = shlex.split(commands("greensock serve greensock.examples:Echo --control")[0])
    with started((*GREENSOCK, *serve_command[1:], "--bind", "127.0.0.1:0"), folder) as process:
        _, port = address_of(process)
        for command in commands("greensock top"):
            done = subprocess.run(
                [*GREENSOCK, *shlex.split(command.replace("9999", str(port)))[1:]],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert done.returncode == 0, done.stderr
            assert f"127.0.0.1:{port}" in done.stdout or json.loads(done.stdout)


@pytest.mark.parametrize("command", commands("greensock run"))
def test_run_command_is_understood(command: str) -> None:
    options, program_run = run.split(shlex.split(command)[2:])
    arguments = greensock.cli._parser(True).parse_args(["run", *options])
    assert arguments.run is run.run
    assert program_run is not None
    assert program_run.name == "http.server"


def test_run_check_says_who_is_parked(folder: Path) -> None:
    (command,) = (line for line in commands("greensock run") if "--check" in line)
    done = subprocess.run(
        [*GREENSOCK, *shlex.split(command.replace("8000", "0"))[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "idle clients: parked" in done.stdout


@pytest.mark.parametrize("command", commands("greensock torture"))
def test_torture_command_is_understood(command: str) -> None:
    arguments = greensock.cli._parser().parse_args(shlex.split(command)[1:])
    assert arguments.run is torture.run


@pytest.mark.parametrize("command", [*commands("greensock compare"), "[tool.greensock.compare]"])
def test_compare_options_are_understood(
    folder: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    if command.startswith("["):
        (section,) = (text for kind, text in BLOCKS if kind == "toml")
        folder.joinpath("pyproject.toml").write_text(section, encoding="utf-8")
        command = "greensock compare"
    arguments = greensock.cli._parser().parse_args(shlex.split(command)[1:])
    assert arguments.run is compare.run
    plan, _ = understand(arguments, open_files=20_000)
    for text in plan.thresholds:
        parse_threshold(text, plan.contenders)
    place = plan.target.partition(":")[0]
    assert plan.is_program == ("--program" in command)
    assert plan.is_program or not place.endswith(".py") or place in PROGRAMS
    if folder.joinpath("pyproject.toml").exists():
        assert (plan.target, plan.idle, len(plan.thresholds)) == ("count.py:Count", 5000, 2)


def test_locustfile_of_ones_own_loads_its_server(folder: Path) -> None:
    (command,) = (line for line in commands("locust") if "-f locust_count.py" in line)
    with served(folder, "count.py:Count", "greenlet") as (_, (_, port)):
        arguments = shlex.split(command.replace("9999", str(port)))[1:]
        done = subprocess.run(
            [*LOCUST, *arguments, "-t", "2s", "--collect", "run.json"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert '"count"' in (collected := folder.joinpath("run.json").read_text())
    assert '"count three"' in collected
    assert json.loads(collected)


def test_locustfiles_are_those_of_loadtests(folder: Path) -> None:
    listed = re.findall(r"^\| `(locust_\w+\.py)` \|", README, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in REPOSITORY.glob("loadtests/locust_*.py"))
    for command in commands("locust"):
        arguments = shlex.split(command)
        assert folder.joinpath(arguments[arguments.index("-f") + 1]).is_file()


@pytest.mark.parametrize("command", commands("python -m loadtests.peers"))
def test_peers_command_is_understood(command: str) -> None:
    done = subprocess.run(
        [sys.executable, *shlex.split(command)[1:], "--list"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "epoll" in done.stdout


def test_every_option_named_exists() -> None:
    helps = [
        *([*GREENSOCK, name, "--help"] for name in ("serve", "compare", "torture", "top", "run")),
        *([sys.executable, "-m", name, "--help"] for name in LOAD_PROGRAMS),
        [sys.executable, "-m", "http.server", "--help"],
        [*LOCUST, "--help"],
    ]
    known = {
        option
        for command in helps
        for option in OPTION.findall(
            subprocess.run(
                command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=True
            ).stdout
        )
    }
    # Those of locustfiles, which locust's help does not know of.
    for folder in ("loadtests", "greensock/loadtest"):
        for path in REPOSITORY.joinpath(folder).glob("*.py"):
            known |= set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text()))
    assert set(OPTION.findall(README)) <= known


def test_every_scenario_and_metric_is_named() -> None:
    assert [name for name in (*SCENARIOS, *METRICS) if f"`{name}`" not in README] == []


def test_every_name_of_greensock_that_is_used_exists() -> None:
    """Classes and class attributes in code spans: those that greensock once had, too."""
    public = {
        attribute
        for name in greensock.__all__
        for attribute in (name, *dir(getattr(greensock, name)))
    }
    spans = set(re.findall(r"`((?:max|allow|disable|defer|block|parkable|linger)\w*)`", README))
    spans |= set(re.findall(r"`(\w+(?:Server|MixIn|RequestHandler))`", README))
    elsewhere = {"ThreadingHTTPServer", "SimpleXMLRPCServer", "StreamServer"}
    assert spans - public - elsewhere - set(METRICS) == set()


def test_set_up_commands_share_an_environment() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    main, tests = SET_UP
    for command in SET_UP:
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install -q -e '.[")
    assert main.endswith("&& .venv/bin/greensock compare")
    assert tests.endswith("&& .venv/bin/python -m pytest -q -n 3")
    named = re.findall(r"-e '\.\[(\w+)\]'", README)
    assert named[:2] == ["loadtest", "test"]
    assert set(named) <= set(extras)


def test_readme_is_read_in_five_minutes() -> None:
    assert len(FRONT.encode()) <= 14 * 1024


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.parent.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```$", "", document.read_text(encoding="utf-8"))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        place, _, anchor = link.partition("#")
        if place.startswith("http"):
            continue
        target = document.parent.joinpath(place) if place else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_folder_of_tests_is_named() -> None:
    text = (REPOSITORY / "tests/README.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in text.split("\n") if line.startswith("| `"))
    named = set(re.findall(r"`(\w+)/`", table))
    folders = {path.parent.name for path in REPOSITORY.glob("tests/*/__init__.py")}
    assert named == folders


def test_no_table_cell_is_a_page() -> None:
    """README's: those of the guides are what they are."""
    cells = [cell for line in FRONT.split("\n") if line.startswith("|") for cell in line.split("|")]
    assert [cell for cell in cells if len(cell) > 120] == []


def test_every_python_that_is_promised_is_tried() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    first, *others = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">={first}"
    assert f"CPython {first}, {', '.join(others[:-1])} and {others[-1]}," in README
    script = REPOSITORY.joinpath(".ci/pythons").read_text(encoding="utf-8")
    assert f"{' | '.join(others)} | oldest) " in script
    for dependency in project["dependencies"]:
        assert dependency.replace(">=", " from ") in README


def test_ci_runs_the_test_command_of_readme() -> None:
    script = REPOSITORY.joinpath(".ci/run").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"grep '(.+)' README\.md", script)
    assert [line for line in FRONT.split("\n") if re.search(pattern, line)] == [SET_UP[1]]
