"""The benchmark against peers: ``python -m loadtests.peers``, with the extra ``peers`` installed.

``catalogue`` says who is compared, ``contenders`` holds their servers, ``load`` the generator,
``measures`` what is measured, ``requirements`` what greensock must reach, ``report`` and ``plots``
how it is shown.
"""
