"""telnetsrv: a shell over Telnet; a thread that its setup() starts reads each client."""

import socketserver
import sys

from telnetsrv.threaded import Commands, TelnetHandler, cmd


class Shell(Commands):  # type: ignore[misc]
    @cmd("echo")  # type: ignore[untyped-decorator]
    def command_echo(self, params: list[str]) -> None:
        """<text>: say it, in capitals"""
        self.handler.writeresponse(" ".join(params).upper())


class Handler(TelnetHandler):  # type: ignore[misc]
    commands_class = Shell
    WELCOME = "hello"


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
