"""Asks a program what its own client, or an independent one, asks; in a process of its own.

    python -m loadtests.programs.clients NAME PORT ...

prints, as JSON, what the program at each port answered.
"""

import http.client
import json
import logging.handlers
import socket
import sys
import urllib.request
import xmlrpc.client
from collections.abc import Callable
from contextlib import closing
from typing import Any

Answers = list[Any]
_HOST = "127.0.0.1"
_PATIENCE = 20.0


def requests_session(port: int) -> Answers:
    """requests, over urllib3's pool of kept connections."""
    import requests

    with requests.Session() as session:
        urls = [f"http://{_HOST}:{port}/{name}" for name in ("", "no-such-page", "?a=b")]
        replies = [session.get(url, timeout=_PATIENCE) for url in urls * 3]
    return [(reply.status_code, reply.text) for reply in replies]


def xmlrpc_proxy(port: int) -> Answers:
    with xmlrpc.client.ServerProxy(f"http://{_HOST}:{port}/") as proxy:
        several = xmlrpc.client.MultiCall(proxy)
        several.pow(2, 9)
        several.upper("text")
        answers: Answers = [proxy.pow(2, 10), proxy.upper("größe"), proxy.system.listMethods()]
        both = several()
        answers += [both[0], both[1]]
        try:
            proxy.no_such_method()
        except xmlrpc.client.Fault as fault:
            answers.append(fault.faultString)
    return answers


def flask_pages(port: int) -> Answers:
    import requests

    base = f"http://{_HOST}:{port}"
    with requests.Session() as session:
        hello = session.get(f"{base}/?name=you", timeout=_PATIENCE)
        added = session.post(f"{base}/sum", json=[1, 2, 3], timeout=_PATIENCE)
        missing = session.get(f"{base}/missing", timeout=_PATIENCE)
    return [hello.text, added.json(), missing.status_code, hello.headers["Connection"]]


def bottle_pages(port: int) -> Answers:
    with urllib.request.urlopen(f"http://{_HOST}:{port}/hello/you", timeout=_PATIENCE) as reply:
        text = reply.read().decode()
    with closing(http.client.HTTPConnection(_HOST, port, timeout=_PATIENCE)) as connection:
        connection.request("GET", "/missing")
        return [text, connection.getresponse().status]


def metrics_page(port: int) -> Answers:
    from prometheus_client.parser import text_string_to_metric_families

    with urllib.request.urlopen(f"http://{_HOST}:{port}/metrics", timeout=_PATIENCE) as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    return [sample.value for each in families for sample in each.samples if "visits_t" in sample[0]]


def log_records(port: int) -> Answers:
    """A record as SocketHandler sends it, before and after a configuration is sent."""
    answers: Answers = []
    for message in ("hello", "again"):
        handler = logging.handlers.SocketHandler(_HOST, port)
        record = logging.makeLogRecord({"name": "far", "levelno": 40, "msg": message})
        handler.emit(record)
        with closing(handler):
            assert handler.sock is not None
            handler.sock.settimeout(_PATIENCE)
            answers.append(handler.sock.recv(1).decode())
        with socket.create_connection((_HOST, port + 1), timeout=_PATIENCE) as sender:
            text = b'{"version": 1, "disable_existing_loggers": false}'
            sender.sendall(len(text).to_bytes(4, "big") + text)
            answers.append(sender.recv(1).decode())
    return answers


def dns_question(port: int) -> Answers:
    from dnslib import DNSRecord

    question = DNSRecord.question("example.org")
    answers = [DNSRecord.parse(question.send(_HOST, port, tcp=True)) for _ in range(3)]
    return [[str(each.rdata) for each in answer.rr] for answer in answers]


def websocket_session(port: int) -> Answers:
    import websocket

    with closing(websocket.create_connection(f"ws://{_HOST}:{port}", timeout=_PATIENCE)) as client:
        answers: Answers = []
        for text in ("hello", "größe", "x" * 70_000):
            client.send(text)
            answers.append(client.recv())
        client.ping("are you there")
        answers.append(client.recv_data(control_frame=True)[0])
    return answers


def irc_session(port: int) -> Answers:
    """Two clients of the package's own meet in a channel."""
    import irc.client

    reactor = irc.client.Reactor()
    heard: Answers = []
    connections = {
        nick: reactor.server().connect(_HOST, port, nick, username=nick) for nick in ("anna", "bob")
    }

    def note(connection: Any, event: Any) -> None:
        heard.append([connection.get_nickname(), event.type, list(event.arguments)])

    def until(said: Callable[[], bool]) -> None:
        for _ in range(int(_PATIENCE / 0.02)):
            if said():
                return
            reactor.process_once(0.02)
        raise TimeoutError(str(heard))

    for event in ("join", "pubmsg", "privmsg"):
        reactor.add_global_handler(event, note)
    for count, connection in enumerate(connections.values(), 1):
        connection.join("#tea")
        # The first hears the second come.
        until(lambda: len(heard) >= count * (count + 1) // 2)  # noqa: B023
    connections["anna"].privmsg("#tea", "milk?")
    until(lambda: any(event == "pubmsg" for _, event, _ in heard))
    for connection in connections.values():
        connection.disconnect()
    return sorted(heard)


def modbus_master(port: int) -> Answers:
    from umodbus.client import tcp

    with socket.create_connection((_HOST, port), timeout=_PATIENCE) as sock:
        return [
            tcp.send_message(
                tcp.read_holding_registers(slave_id=1, starting_address=start, quantity=4), sock
            )
            for start in (0, 50)
        ]


def dicom_echo(port: int) -> Answers:
    from pynetdicom import AE
    from pynetdicom.sop_class import Verification

    entity = AE()
    entity.add_requested_context(Verification)
    association = entity.associate(_HOST, port)
    answers: Answers = [association.is_established]
    answers += [association.send_c_echo().Status for _ in range(3)]
    association.release()
    return [*answers, association.is_released]


def osc_questions(port: int) -> Answers:
    from pythonosc.tcp_client import SimpleTCPClient

    with SimpleTCPClient(_HOST, port) as client:
        answers: Answers = []
        for value in (21, 1000):
            client.send_message("/double", value)
            message = next(client.get_messages(_PATIENCE))
            answers.append([message.address, *message.params])
    return answers


def json_rpc_proxy(port: int) -> Answers:
    import jsonrpclib

    proxy = jsonrpclib.ServerProxy(f"http://{_HOST}:{port}")
    several = jsonrpclib.MultiCall(proxy)
    several.pow(2, 9)
    several.upper("text")
    answers: Answers = [proxy.pow(2, 10), proxy.upper(text="größe"), proxy.system.listMethods()]
    answers += list(several())
    try:
        proxy.no_such_method()
    except jsonrpclib.ProtocolError as error:
        answers.append(str(error))
    proxy("close")()
    return answers


def modbus_client(port: int) -> Answers:
    """pyModbusTCP's own, which keeps its connection."""
    from pyModbusTCP.client import ModbusClient

    client = ModbusClient(_HOST, port, timeout=_PATIENCE, auto_open=True)
    answers: Answers = [client.read_holding_registers(start, 4) for start in (0, 50)]
    answers += [client.write_multiple_coils(7, [True, False, True]), client.read_coils(6, 5)]
    client.close()
    return answers


def redis_client(port: int) -> Answers:
    """redis-py: a pipeline, a subscription, and a command that waits for another client's."""
    import redis

    with (
        redis.Redis(port=port, decode_responses=True, socket_timeout=_PATIENCE) as one,
        redis.Redis(port=port, decode_responses=True, socket_timeout=_PATIENCE) as other,
        one.pubsub(ignore_subscribe_messages=True) as news,
    ):
        one.flushall()
        answers: Answers = [one.set("greeting", "größe"), one.get("greeting"), one.ping()]
        answers.append(one.pipeline().rpush("queue", "a", "x" * 100_000).llen("queue").execute())
        answers += [len(other.blpop(["queue"], 5)[1]) for _ in range(2)]
        news.subscribe("news")
        news.get_message(timeout=_PATIENCE)
        answers.append(other.publish("news", "extra"))
        while (message := news.get_message(timeout=_PATIENCE)) is None:
            pass
        answers.append(message["data"])
        try:
            one.lpush("greeting", "no list")
        except redis.ResponseError as error:
            answers.append(str(error))
    return answers


def telnet_session(port: int) -> Answers:
    """Some lines of a shell, as a terminal that refuses every option shows them."""
    with socket.create_connection((_HOST, port), timeout=_PATIENCE) as sock:
        said = b""

        def until(text: bytes) -> str:
            nonlocal said
            while text not in said:
                part = sock.recv(4096)
                if not part:
                    raise EOFError(repr(said))
                said += part
            before, _, said = said.partition(text)
            return before.decode("latin-1").strip()

        until(b"Telnet Server> ")
        answers: Answers = []
        for line, answer in ((b"echo hello there", b"HELLO THERE"), (b"echo again", b"AGAIN")):
            sock.sendall(line + b"\r\n")
            answers += [until(answer), until(b"Telnet Server> ")]
        sock.sendall(b"logout\r\n")
        while part := sock.recv(4096):
            said += part
        return [*answers, len(said)]


def robot_keywords(port: int) -> Answers:
    with xmlrpc.client.ServerProxy(f"http://{_HOST}:{port}/") as proxy:
        failure = proxy.run_keyword("fail", ["for a reason"])
        assert isinstance(failure, dict)
        return [
            proxy.get_keyword_names(),
            proxy.get_keyword_arguments("add"),
            proxy.run_keyword("add", [1.5, 2]),
            failure["error"],
        ]


def calendar_session(port: int) -> Answers:
    """A calendar is made, filled, searched and taken away."""
    import requests

    base = f"http://{_HOST}:{port}/user"
    event = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:here\r\nBEGIN:VEVENT\r\nUID:one\r\n"
        "DTSTART:20300101T120000Z\r\nDTEND:20300101T130000Z\r\nSUMMARY:größe\r\n"
        "END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    search = (
        '<C:calendar-query xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:prop>'
        '<C:calendar-data/></D:prop><C:filter><C:comp-filter name="VCALENDAR"/></C:filter>'
        "</C:calendar-query>"
    )
    with requests.Session() as session:
        session.auth = ("user", "any")
        session.request("PROPFIND", f"{base}/", timeout=_PATIENCE)
        asked = (
            ("MKCALENDAR", "/calendar/", ""),
            ("PUT", "/calendar/one.ics", event),
            ("REPORT", "/calendar/", search),
            ("GET", "/calendar/none.ics", ""),
            ("DELETE", "/calendar/", ""),
        )
        replies = [
            session.request(method, base + path, data=body.encode(), timeout=_PATIENCE)
            for method, path, body in asked
        ]
    statuses: Answers = [reply.status_code for reply in replies]
    return [*statuses, replies[2].text.count("SUMMARY:größe")]


if __name__ == "__main__":
    ask: Callable[[int], Answers] = globals()[sys.argv[1]]
    print(json.dumps([ask(int(port)) for port in sys.argv[2:]]))
