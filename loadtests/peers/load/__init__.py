"""The load generator: one process, one bare epoll loop, commanded by lines of JSON on its input.

Pure Python reaches about 120,000 exchanges a second this way, which is what a bare epoll loop can
answer from another core. Where the generator was the limit, its answer says ``saturated``.
"""
