"""Many clients that log in, run one query each and then wait. Says "ready" when all wait. For each line of standard input
every client runs a query, all at once, and "served N" is said; with its end all of them go.

    crowd.py PORT USER PASSWORD CLIENTS

SCRAM's key is derived once for all of them (they share a user, and so a salt): a login costs a few hashes, not
thousands.
"""

import base64
import hashlib
import hmac
import os
import select
import socket
import struct
import sys

QUERY = "select id, title, status, body, amount from documents where id = 1000007"
# As many logins at once as a backlog takes.
AT_ONCE = 100


def message(tag, body):
    return tag + struct.pack("!I", len(body) + 4) + body


class Client:
    """One connection, driven by what comes."""

    keys = {}

    def __init__(self, port, user, password):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.password = password
        self.inbox = b""
        self.asked = False
        self.ready = False
        body = struct.pack("!I", 196608)
        for word in ("user", user, "database", "ccm"):
            body += word.encode() + b"\0"
        body += b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)

    def readable(self):
        more = self.socket.recv(65536)
        if not more:
            raise SystemExit("a connection was closed")
        self.inbox += more
        while len(self.inbox) >= 5:
            length = struct.unpack("!I", self.inbox[1:5])[0] + 1
            if len(self.inbox) < length:
                return
            tag, body, self.inbox = self.inbox[:1], self.inbox[5:length], self.inbox[length:]
            self.heard(tag, body)

    def heard(self, tag, body):
        if tag == b"E":
            raise SystemExit(body)
        if tag == b"R":
            kind = struct.unpack("!I", body[:4])[0]
            if kind == 10:
                self.nonce = base64.b64encode(os.urandom(18)).decode()
                self.bare = "n=,r=" + self.nonce
                first = ("n,," + self.bare).encode()
                self.socket.sendall(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first))
            elif kind == 11:
                self.socket.sendall(message(b"p", self.proof(body[4:].decode())))
        elif tag == b"Z" and not self.asked:
            self.ask()
        elif tag == b"Z":
            self.ready = True

    def ask(self):
        self.asked = True
        self.ready = False
        self.socket.sendall(message(b"Q", QUERY.encode() + b"\0"))

    def proof(self, first):
        fields = dict(part.split("=", 1) for part in first.split(","))
        about = (fields["s"], fields["i"])
        if about not in self.keys:
            salt = base64.b64decode(fields["s"])
            salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, int(fields["i"]))
            key = hmac.digest(salted, b"Client Key", "sha256")
            self.keys[about] = (key, hashlib.sha256(key).digest())
        key, stored = self.keys[about]
        last = "c=biws,r=" + fields["r"]
        signature = hmac.digest(stored, ",".join((self.bare, first, last)).encode(), "sha256")
        proof = bytes(a ^ b for a, b in zip(key, signature))
        return (last + ",p=" + base64.b64encode(proof).decode()).encode()


def drive(coming, at_once):
    """Takes clients, so many at once, until each is ready."""
    poll, by_number, ready = select.poll(), {}, []
    coming = iter(coming)
    more = True
    while more or by_number:
        while more and len(by_number) < at_once:
            client = next(coming, None)
            more = client is not None
            if more:
                by_number[client.socket.fileno()] = client
                poll.register(client.socket, select.POLLIN)
        for number, _ in poll.poll() if by_number else ():
            client = by_number[number]
            client.readable()
            if client.ready:
                poll.unregister(number)
                ready.append(by_number.pop(number))
    return ready


def main():
    port, user, password, count = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    clients = drive((Client(port, user, password) for _ in range(count)), AT_ONCE)
    print("ready", flush=True)
    for _ in sys.stdin:
        for client in clients:
            client.ask()
        clients = drive(clients, count)
        print("served", len(clients), flush=True)


main()
