"""Programs of other people's on socketserver, unchanged: on the standard library and on greensock.

    python -m loadtests.programs --json programs.json

`catalogue` lists them, `served/` starts those that have no command of their own, `clients` asks
each by its own client or an independent one, `idle` holds clients beside that.
"""
