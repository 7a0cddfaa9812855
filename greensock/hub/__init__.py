"""Everything that touches gevent's hub and loop; no other folder of greensock does.

`waiting` blocks one greenlet, `waking` crosses threads, `sleeper` is where a serving greenlet
sleeps, `lot` watches the parked clients, `workers` pools greenlets, `children` waits for forked
processes and gives a child a hub of its own, `lifetime` says who ends a hub.
"""
