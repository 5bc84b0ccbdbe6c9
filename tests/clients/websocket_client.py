#!/usr/bin/env python3
"""The client of python_client.py over the WebSocket of the library `websockets`.

    websocket_client.py ws://HOST:PORT/PATH CASE    talks to an echo of the protocol "echo/1"

Section 14 of docs/wire.md: the payloads of all binary messages, one after another, are the stream.
"""

import sys

from python_client import Client, talk
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect


class Stream:
    """A WebSocket with a socket's methods. `say` sends bytes in the manner that a case is about."""

    def __init__(self, websocket, say):
        self.websocket, self.say = websocket, say
        self.unread = b""

    def sendall(self, data):
        """What crosses the server's Close is lost."""
        try:
            self.say(self.websocket, data)
        except ConnectionClosed:
            pass

    def recv(self, count):
        while not self.unread:
            try:
                self.unread = self.websocket.recv(timeout=30)
            except ConnectionClosed:
                return b""
            assert isinstance(self.unread, bytes), "a text message"
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    def shutdown(self, _):
        """A WebSocket has no half-closed state: the server's answer to GoAway is its Close."""

    def close(self):
        self.websocket.close()


def one_message(websocket, data):
    websocket.send(data)


def one_byte_each(websocket, data):
    for at in range(len(data)):
        websocket.send(data[at : at + 1])


def with_empty_messages(websocket, data):
    for part in (b"", data[:3], b"", b"", data[3:], b""):
        websocket.send(part)


def fragments_of(size):
    def say(websocket, data):
        websocket.send([data[at : at + size] for at in range(0, len(data), size)])

    return say


def fragments_and_empty_ones(websocket, data):
    parts = [data[at : at + 7] for at in range(0, len(data), 7)]
    websocket.send([b""] + [piece for part in parts for piece in (part, b"")])


def pings_between_messages(websocket, data):
    before = websocket.ping(b"before", ack_on_close=True)
    websocket.send(data)
    assert before.wait(30), "no pong"


def pings_between_fragments(websocket, data):
    pongs = []

    def fragments():
        for at in range(0, len(data), 11):
            pongs.append(websocket.ping(b"%d" % at, ack_on_close=True))
            websocket.pong(b"nobody asked")
            yield data[at : at + 11]

    websocket.send(fragments())
    assert all(pong.wait(30) for pong in pongs), "no pong"


def exchange(client):
    """A short conversation, for manners in which a long one would take long."""
    channel = client.open("echo/1")
    messages = [b"hello", b"", bytes(range(256)) * 3]
    for message in messages:
        channel.send(message, 100)
    for message in messages:
        assert channel.receive() == message, "another echo"
    channel.finish()
    assert channel.receive() is None and channel.over(), "the echo did not finish"


def opened(url, say=one_message, compression=None):
    websocket = connect(url, compression=compression, max_size=None, proxy=None, legacy=True)
    return Client(Stream(websocket, say)), websocket


def left(client, websocket):
    """Leaves, and looks how the WebSocket ended: the server closed it, with 1000."""
    client.go_away()
    closed_with(websocket, 1000, "", by_server=True)


def closed_with(websocket, code, reason, by_server):
    protocol = websocket.protocol
    received = protocol.close_rcvd
    assert received is not None, f"no Close but {protocol.close_exc!r}"
    assert received.code == code and reason in (None, received.reason), received
    assert protocol.close_rcvd_then_sent is by_server


# The cases.


def whole_conversation(url):
    client, websocket = opened(url)
    said = talk(client)
    closed_with(websocket, 1000, "", by_server=True)
    return said


def fragmented_conversation(url):
    client, websocket = opened(url, fragments_of(1000))
    said = talk(client)
    closed_with(websocket, 1000, "", by_server=True)
    return said


def manners(url):
    ways = [
        one_byte_each,
        with_empty_messages,
        fragments_of(1),
        fragments_and_empty_ones,
        pings_between_messages,
        pings_between_fragments,
    ]
    for way in ways:
        client, websocket = opened(url, way)
        exchange(client)
        left(client, websocket)
    return f"{len(ways)} manners of sending"


def split_everywhere(url):
    """All that the example of section 16 says, as two messages and as two fragments, cut at each byte."""
    at, length = 0, 2
    while (at := at + 1) < length:
        for fragmented in (False, True):
            said = bytearray()
            client, websocket = opened(url, lambda _, data: said.extend(data))
            channel = client.open("echo/1")
            channel.send(b"hello")
            channel.send(b"world", part=3)
            channel.finish()
            length = len(said)
            client.socket.say = one_message
            parts = [bytes(said[:at]), bytes(said[at:])]
            for message in [parts] if fragmented else parts:
                websocket.send(message)
            assert [channel.receive() for _ in range(3)] == [b"hello", b"world", None], at
            left(client, websocket)
    return f"{length} bytes, cut at each"


def compression(url):
    for offer in ("deflate", None):
        client, websocket = opened(url, compression=offer)
        offered = websocket.request.headers.get("Sec-WebSocket-Extensions")
        assert (offered is None) == (offer is None), offered
        assert websocket.protocol.extensions == [], "an extension that nobody may choose"
        assert "Sec-WebSocket-Extensions" not in websocket.response.headers
        exchange(client)
        left(client, websocket)
    return "offered and not offered"


def close_by_client(url):
    closes = [(1000, ""), (1001, "leaving"), (1011, ""), (3000, "größer"), (4999, "x" * 123)]
    for code, reason in closes:
        client, websocket = opened(url)
        exchange(client)
        websocket.close(code, reason)
        closed_with(websocket, code, None, by_server=False)
    return f"{len(closes)} codes"


def close_by_server(url):
    """What a client does wrong, and the code that it is told."""
    return told(
        url,
        {
            1003: lambda websocket: websocket.send("text"),
            1002: lambda websocket: unmasked(websocket, b"hello"),
        },
    )


def too_large_message(url):
    return told(url, {1009: lambda websocket: websocket.send(bytes((64 << 20) + 1))})


def told(url, wrongs):
    for code, do_wrong in wrongs.items():
        client, websocket = opened(url)
        exchange(client)
        try:
            do_wrong(websocket)
        except ConnectionClosed:
            pass  # while it was still being said
        while client.socket.recv(1 << 16):
            pass
        closed_with(websocket, code, None, by_server=True)
    return f"{len(wrongs)} codes"


def unmasked(websocket, data):
    with websocket.send_context():
        websocket.protocol.writes.append(Frame(Opcode.BINARY, data).serialize(mask=False))


def close_of_application(url):
    """The server closes with a code and a reason of its own, at once."""
    websocket = connect(url, proxy=None, legacy=True)
    try:
        websocket.recv(timeout=30)
        raise AssertionError("a message")
    except ConnectionClosed:
        closed_with(websocket, 4001, "größer", by_server=True)
    return "4001"


def close_on_signal(url):
    """The server is told to stop: GoAway, then Close."""
    client, websocket = opened(url)
    exchange(client)
    print("ready", flush=True)
    while client.receive():
        pass
    assert client.goodbye == 0, client.goodbye
    closed_with(websocket, 1000, "", by_server=True)
    return "the server said goodbye"


if __name__ == "__main__":
    print("ok:", globals()[sys.argv[2]](sys.argv[1]))
