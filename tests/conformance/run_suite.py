"""Run one of CPython's own test modules on greensock, or, as the control, on socketserver.

A program, run in a process of its own: whatever replaces `socketserver` has to be there before
anything that imports it, and patching has to come before or after that on purpose. So nothing is
imported up here but what the interpreter starts with.

    python run_suite.py --server greensock --patch never --report FILE test.test_socketserver
"""

import sys


def replace_socketserver(server: str, patch: str) -> None:
    """Make `import socketserver` mean `server`, with the process patched as told."""
    if "socketserver" in sys.modules:
        raise SystemExit("socketserver was imported before it could be replaced")
    if patch == "before":
        patch_all()
    if server == "greensock":
        import greensock

        if "socketserver" in sys.modules:
            raise SystemExit("greensock imports socketserver: the suite would test a mixture")
        sys.modules["socketserver"] = greensock
    else:
        import socketserver  # noqa: F401
    if patch == "after":
        patch_all()


def patch_all() -> None:
    from gevent import monkey

    monkey.patch_all()


def main() -> int:
    # Parsed by hand: argparse and json would be imported before the patching.
    arguments = sys.argv[1:]
    options: dict[str, str] = {}
    skipped: list[str] = []
    while arguments and arguments[0].startswith("--"):
        name, value = arguments.pop(0), arguments.pop(0)
        if name == "--skip":
            skipped.append(value)
        else:
            options[name] = value
    module, patterns = arguments[0], arguments[1:] or ["*"]
    replace_socketserver(options["--server"], options["--patch"])
    return run(module, patterns, skipped, options["--report"])


def run(module: str, patterns: list[str], skipped: list[str], report: str) -> int:
    """Run the tests of `module` whose id matches one of `patterns` and none of `skipped`."""
    import fnmatch
    import json
    import unittest

    from report import Report

    def selected(test) -> bool:
        name = test.id()
        return name not in skipped and any(fnmatch.fnmatchcase(name, each) for each in patterns)

    loaded = unittest.defaultTestLoader.loadTestsFromName(module)
    tests = unittest.TestSuite(filter(selected, flattened(loaded)))
    with open(report, "w", encoding="utf-8") as stream:
        result = Report(stream)
        tests.run(result)
        stream.write(json.dumps(["end", module, str(result.testsRun)]) + "\n")
    return 0 if result.wasSuccessful() else 1


def flattened(tests):
    """The single tests of a suite, in its order, by which it sets up their classes."""
    if hasattr(tests, "__iter__"):
        for each in tests:
            yield from flattened(each)
    else:
        yield tests


if __name__ == "__main__":
    sys.exit(main())
