"""`greensock compare`: one handler under several mixins, side by side, under load.

Each folder imports from those below it only:

    command.py     the whole command, once its options are understood
    reports/       what people look at: progress, the table, the page, its pictures
    results/       medians, flags, thresholds, two runs side by side; result.json
    trials/        one trial from start to stop, its load, and the order of them all
    idle/          does the server answer at all? what do idle clients cost?
    under_test/    the server under test, peers that are not greensock's, what their processes use
    planning/      what is compared, under which load: the options, understood
    scenarios/     the built-in loads and their handlers

Nothing here imports locust: it patches the process that imports it, so it runs as a child.
"""
