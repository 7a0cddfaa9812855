"""`greensock torture`: bad clients against a server, any server, and a plain verdict for each kind.

A case sends its bad clients while a well-behaved one, the probe, asks the same server all the time.
The server passes if it goes on answering the probe, rightly and soon, while they are there and once
they have gone; and, where its process can be looked at, if they leave nothing behind in it: no
CPU used, no memory that grows with what they send, no descriptor, thread or child.

Everything is bounded in count and in time, and uses plain sockets and threads of the standard
library: what is seen is the server, whatever it is written with.

`cases` holds the cases, a file for each family; the docstring of a case says what passing means.
"""
