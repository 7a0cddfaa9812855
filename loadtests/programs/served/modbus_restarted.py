"""pyModbusTCP: a device that was started and stopped, at another address, before it serves."""

import sys
import threading
import time

from pyModbusTCP.server import ModbusServer

if __name__ == "__main__":
    server = ModbusServer("127.0.0.2", int(sys.argv[1]), no_block=True)
    for _ in range(3):
        server.start()
        while not server.is_run:
            time.sleep(0.001)
        server.stop()
        while server.is_run:
            time.sleep(0.001)
    server.host = "127.0.0.1"
    server.data_bank.set_holding_registers(0, [2 * address for address in range(100)])
    server.start()
    threading.Event().wait()
