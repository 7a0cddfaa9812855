"""`greensock compare --program`: a whole program, on greensock and on the standard library."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from greensock.arguments.usage import UsageError
from greensock.cli import _parser
from greensock.compare.planning.contenders import Contender
from greensock.compare.planning.options import understand
from tests.compare.conftest import ONE_ROUND

PROGRAM = "-m http.server {port} --bind 127.0.0.1 --protocol HTTP/1.1"


def plan(*arguments: str) -> Any:
    options = _parser().parse_args(["compare", *arguments])
    return understand(options, 20_000)[0]


def test_program_is_compared_under_every_mixin_that_it_can_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = plan("--program", PROGRAM)
    assert (alone.target, alone.is_program, alone.scenario) == (PROGRAM, True, "http")
    assert alone.contenders == ("greenlet", "threading", "forking")
    beside = plan("--program", PROGRAM, "--peers", "--mixins", "greenlet", "--scenario", "line")
    assert beside.contenders == ("greenlet", "stdlib-threading", "patched-threading")
    assert beside.scenario == "line"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--program", "-m http.server"), "--program must say where its port goes"),
        (("--program", PROGRAM, "some.module:Handler"), "leave out some.module:Handler"),
        (("--program", PROGRAM, "--scenario", "unix"), "--scenario unix is not"),
        (("--program", PROGRAM, "--mixins", "none"), "--mixins must name some of greenlet,"),
    ],
)
def test_program_that_cannot_be_compared_is_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        plan(*arguments)


def test_command_of_each() -> None:
    python = sys.executable
    program = "-m 'a module' {port} --at {port}"
    command = {
        name: Contender(name).program_command(program, 7, ["max_children=9"])
        for name in ("forking", "stdlib-threading", "patched-threading")
    }
    arguments = ["a module", "7", "--at", "7"]
    run = [python, "-m", "greensock", "run", "--mixin", "forking", "--set", "max_children=9"]
    assert command["forking"] == [*run, "-m", *arguments]
    assert command["stdlib-threading"] == [python, "-m", *arguments]
    assert command["patched-threading"] == [python, "-m", "gevent.monkey", "--module", *arguments]


def test_program_is_measured(compare: Any) -> None:
    mixins = "greenlet,stdlib-threading"
    run = compare(
        *ONE_ROUND, "--program", PROGRAM, "--mixins", mixins, "--idle", "20", "--no-plots"
    )
    assert run.finish() == 0, run.err
    result = json.loads((run.folder / "greensock-report" / "result.json").read_text())
    for trial in result["trials"]:
        assert trial["failed"] is None
        assert trial["idle"]["held"] == 20, trial["contender"]
        assert not [note for note in trial["notes"] if "cleanly" in note]
    assert run.processes() == []
