# SPDX-License-Identifier: GPL-2.0-or-later
"""Both ends of the TCP measurements of bench/io. The host's end is serve(); the guest runs this file
as `python3 peer.py MODE PORT SECONDS`, which prints a rate. The receiver of a stream measures."""
import socket
import sys
import threading
import time

CHUNK = 1 << 18
HOST = "10.0.2.2"
LIMIT = 120


def send(link, seconds):
    """Fill the connection for so long, then half close it."""
    data = bytes(CHUNK)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        link.sendall(data)
    link.shutdown(socket.SHUT_WR)


def receive(link):
    """MB/s (10^6 bytes) from the first byte, which is not counted, to the end."""
    data = bytearray(CHUNK)
    total, begin = 0, None
    while True:
        count = link.recv_into(data)
        if not count:
            return total / (time.monotonic() - begin) / 1e6
        if begin is None:
            begin = time.monotonic()
        else:
            total += count


def ask(link, seconds):
    """Round trips of one byte a second."""
    count, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        link.sendall(b"?")
        link.recv(1)
        count += 1
    return count / (time.monotonic() - begin)


def answer(link):
    while link.recv(1):
        link.sendall(b"!")


def converse(link):
    """The host's end of one connection."""
    with link:
        link.settimeout(LIMIT)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        mode, seconds = link.makefile("rb", buffering=0).readline().split()
        if mode == b"up":
            link.sendall(f"{receive(link)}\n".encode())
        elif mode == b"down":
            send(link, float(seconds))
        else:
            answer(link)


def serve():
    """Serve the guest on the host's loopback; returns the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            threading.Thread(target=converse, args=listener.accept()[:1], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main(mode, port, seconds):
    with socket.create_connection((HOST, int(port)), LIMIT) as link:
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.sendall(f"{mode} {seconds}\n".encode())
        if mode == "up":
            send(link, float(seconds))
            print(link.makefile().readline().strip())
        else:
            print(receive(link) if mode == "down" else ask(link, float(seconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
