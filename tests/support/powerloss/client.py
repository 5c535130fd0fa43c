"""
A sender that puts into the trace what it was answered.

python -m support.powerloss.client URL USERNAME PASSWORD SENDERS COUNT
"""

import base64
import http.client
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from support.powerloss.worker import mark


def body_of(ident: UUID) -> bytes:
    """An event that is like no other."""
    message = {"id": ident.hex, "category": "message", "type": "text", "sender": "u1", "receiver": "u2"}
    return json.dumps({"trigger": "message_sent", "appId": "app", "data": {"message": message}}).encode()


def send(url: str, authorization: str, count: int) -> None:
    """Send *count* events over one connection, one after another."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    for _ in range(count):
        ident = uuid4()
        mark(f"sent {ident} body")
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        connection.request("POST", where.path, body_of(ident), headers)
        response = connection.getresponse()
        response.read()
        if response.status == 200:
            mark(f"200 {ident} body")
            os.write(1, b".")
    connection.close()


if __name__ == "__main__":
    _, url, username, password, senders, count = sys.argv
    authorization = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    with ThreadPoolExecutor(int(senders)) as pool:
        for done in [pool.submit(send, url, authorization, int(count)) for _ in range(int(senders))]:
            done.result()
