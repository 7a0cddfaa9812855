"""Everything that touches gevent's hub and loop; no other folder of greensock does.

`waiting` blocks one greenlet, `waking` crosses threads, `sleeper` is where a serving greenlet
sleeps, `lifetime` says who ends a hub. Above them are `signals`, and `workers`: pooled greenlets,
and forked children with a hub of their own.
"""
