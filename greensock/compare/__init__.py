"""`greensock compare`: one handler under several mixins, side by side, under load.

    plan.py, scenarios/, contenders.py    what is compared, under which load
    rounds.py, trial.py                   the order of the trials; one trial from start to stop
    processes.py, launch.py               starting children that cannot outlive the command
    server_process.py, serve_peer.py      the server under test; peers that are not greensock's
    greenlet_count.py                     how many greenlets it has, counted by itself
    first_clients.py, idle_phase.py       does it answer at all? what do idle clients cost?
    idle_holder.py, idle_clients.py       the process that holds idle clients, and its other end
    locust_process.py, load.py            the load, and what it measured
    rate_search.py                        the highest rate held, and who was the limit
    sampling.py, accept_queue.py          what the server's processes use meanwhile
    summary.py, findings.py               medians, ranges and flags; what may be concluded
    result.py, thresholds.py, against.py  result.json, exit status 99, two runs side by side
    progress.py, table.py, plots.py, report.py   what people look at

Nothing here imports locust: it patches the process that imports it, so it runs as a child.
"""
