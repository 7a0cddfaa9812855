"""The documentation's four worked examples give the documented answers, under every mixin.

On socketserver itself as well, so that an answer expected wrongly is noticed.
"""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import documentation_examples
from .documentation_examples import EXAMPLES, SERVING_THREAD, Answers

PROGRAM = Path(documentation_examples.__file__)
MIXINS = {"socketserver": ("", "Threading", "Forking")}
MIXINS["greensock"] = (*MIXINS["socketserver"], "Greenlet")

every_mixin = pytest.mark.parametrize(
    ("module", "mixin"),
    [(module, mixin) for module, mixins in MIXINS.items() for mixin in mixins],
)

UPPER_CASE = {
    "stream_with_recv": ["HELLO WORLD WITH TCP", "PYTHON IS NICE"],
    "stream_with_rfile": ["HELLO WORLD WITH TCP", "PYTHON IS NICE"],
    "datagrams": ["HELLO WORLD WITH UDP", "PYTHON IS NICE"],
}

#: Where the handler runs, as `current_thread()` names it; in a patched process a greenlet has its
#: own idea of the current thread.
THREAD_NAME = {
    ("", False): re.escape(SERVING_THREAD),
    ("", True): re.escape(SERVING_THREAD),
    ("Forking", False): re.escape(SERVING_THREAD),
    # The child of a patched process begins a new account of its threads.
    ("Forking", True): rf"MainThread|{re.escape(SERVING_THREAD)}",
    ("Threading", False): r"Thread-\d+.*",
    ("Threading", True): r"Thread-\d+.*",
    ("Greenlet", False): re.escape(SERVING_THREAD),
    ("Greenlet", True): r".+",
}


def check(example: str, answers: Answers, mixin: str, patched: bool) -> None:
    if example != "threads":
        assert answers == UPPER_CASE[example]
        return
    names, texts = zip(*(answer.rsplit(": ", 1) for answer in answers), strict=True)
    assert texts == ("Hello World 1", "Hello World 2", "Hello World 3")
    for name in names:
        assert re.fullmatch(THREAD_NAME[mixin, patched], name)


@every_mixin
@pytest.mark.parametrize("example", EXAMPLES)
def test_example_answers_as_documented(module: str, mixin: str, example: str) -> None:
    answers = EXAMPLES[example](importlib.import_module(module), mixin)
    check(example, answers, mixin, patched=False)


@every_mixin
def test_examples_answer_as_documented_when_patched(module: str, mixin: str) -> None:
    patched = (
        "import sys, runpy; from gevent import monkey; monkey.patch_all(); "
        "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", patched, str(PROGRAM), module, mixin],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = json.loads(done.stdout)
    assert list(answers) == list(EXAMPLES)
    for example in EXAMPLES:
        check(example, answers[example], mixin, patched=True)
