"""Looking into a server that runs: who its clients are, and what each of them does just now.

A server that is asked to opens a Unix socket in a folder that only its user may enter, and answers
there: `greensock top` asks, and so may any program of the same user (or root). It can be asked
only; nothing can be done to the server through it.

Nothing is kept for it while nobody asks. The lot knows who is parked, the frames of the handlers
know where they wait, and the kernel knows how long a connection has been silent and how many bytes
it has carried. Ten thousand clients are listed a few hundred at a time, with turns for everybody
else in between.
"""
