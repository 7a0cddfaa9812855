"""The clients of a soak who speak TLS."""

from __future__ import annotations

from loadtests.soaking.clients import Client

# Seconds of silence before a handshake; the server waits for it for ten.
_SILENCE = 1.0


def private_echo(client: Client) -> None:
    """Exchanges in one session, whose end both sides say."""
    with client.stage.shake_hands(client.connect()) as tls:
        while not client.over.is_set():
            client.exchange(tls)
            client.pause()
        with tls.unwrap():
            pass


def resume(client: Client) -> None:
    """One exchange for each connection, in the session of the last, and no word at its end."""
    with client.stage.shake_hands(client.connect(), session=client.session) as tls:
        client.exchange(tls)
        client.count.resumed += bool(tls.session_reused)
        client.session = tls.session
    client.pause()


def late(client: Client) -> None:
    """Says nothing at first; then a handshake and an exchange."""
    plain = client.connect()
    client.over.wait(_SILENCE)
    with client.stage.shake_hands(plain) as tls:
        client.exchange(tls)
