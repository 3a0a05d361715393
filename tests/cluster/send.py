"""Sends REQUEST to HOST PORT, and prints what arrives until the connection is closed or silent for a second.
Usage: send.py HOST PORT REQUEST"""

import socket
import sys

host, port, request = sys.argv[1:]
with socket.create_connection((host, int(port)), timeout=10) as connection:
    connection.sendall(request.encode())
    try:
        while received := connection.recv(65536):
            sys.stdout.write(received.decode())
            connection.settimeout(1)
    except TimeoutError:
        pass
