"""
Is the network namespace that it was started in: brings its device up, then hands out sockets that belong to it.

    python holder.py DESCRIPTOR     of a SOCK_SEQPACKET pair: a byte asks, a TCP socket answers; the end of input ends it
"""

import array
import fcntl
import socket
import struct
import sys

DEVICE, ALIAS = b"lo", b"lo:1"
UP = 0x1 | 0x40
SET_FLAGS, SET_ADDRESS, SET_MASK = 0x8914, 0x8916, 0x891C
ADDRESS, MASK = "198.18.0.1", "255.254.0.0"
"""On a loopback device every address of the prefix is local."""


def prepare() -> None:
    """What `ip link set lo up; ip address add 198.18.0.1/15 dev lo` would do, where there is no `ip`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SET_FLAGS, struct.pack("16sH14x", DEVICE, UP))
        for request, value in ((SET_ADDRESS, ADDRESS), (SET_MASK, MASK)):
            packed = struct.pack("16sHH4s8x", ALIAS, socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, packed)


def serve(descriptor: int) -> None:
    """Hand out sockets until nobody asks any more."""
    with socket.socket(fileno=descriptor) as asked:
        while asked.recv(1):
            with socket.socket() as made:
                asked.sendmsg([b"!"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])


if __name__ == "__main__":
    prepare()
    serve(int(sys.argv[1]))
