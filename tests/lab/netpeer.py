# SPDX-License-Identifier: Apache-2.0
"""A peer for guests: netpeer.py SIZE ADDRESS [ADDRESS...]

Prints a line: the SHA-256 of SIZE bytes, and for each address two ports, the first of a server of
HTTP that gives those bytes, the second of one that reads a line with a number and so many bytes,
and answers with their SHA-256.  Ends with its standard input.
"""

import hashlib
import http.server
import random
import socket
import socketserver
import sys
import threading

BLOCK = 1 << 26  # what is random; more than that is the same again


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(kind, handler, address):
    made = type("Server", (socketserver.ThreadingMixIn, kind),
                {"address_family": family(address), "daemon_threads": True})((address, 0), handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made.server_address[1]


def main():
    size = int(sys.argv[1])
    block = random.Random(5).randbytes(min(size, BLOCK))

    def payload():
        for at in range(0, size, BLOCK):
            yield block[:size - at]

    class Give(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            for data in payload():
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    class Take(socketserver.StreamRequestHandler):
        def handle(self):
            found, left = hashlib.sha256(), int(self.rfile.readline())
            while data := self.rfile.read(min(left, 1 << 20)):
                found.update(data)
                left -= len(data)
            self.wfile.write(found.hexdigest().encode() + b"\n")

    ports = [port for address in sys.argv[2:] for port in
             (serve(http.server.HTTPServer, Give, address),
              serve(socketserver.TCPServer, Take, address))]
    digest = hashlib.sha256()
    for data in payload():
        digest.update(data)
    print(digest.hexdigest(), *ports, flush=True)
    sys.stdin.read()


main()
