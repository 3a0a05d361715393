"""Says who answers and what it was asked by: with TLS on port 443 too where TLS names a directory with a certificate."""

import os
import ssl
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME, ASKS, TLS = os.environ["NAME"], os.environ.get("ASKS"), os.environ.get("TLS")


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = f"{NAME}, asked for as {self.headers['Host']}"
        if isinstance(self.connection, ssl.SSLSocket):
            answer += f", over TLS for {self.connection.server_name}"
        if ASKS:
            with urllib.request.urlopen(ASKS, timeout=5) as response:
                answer += f"; {ASKS} is {response.read().decode().strip()}"
        body = f"{answer}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port, tls=None):
    server = ThreadingHTTPServer(("", port), Service)
    if tls:
        # Each connection's own thread shakes hands.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever).start()


def remember_name(connection, name, _):
    connection.server_name = name


serve(8080)
if TLS:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{TLS}/certificate.pem", f"{TLS}/key.pem")
    context.sni_callback = remember_name
    serve(443, context)
    serve(80)
