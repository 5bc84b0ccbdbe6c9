#!/usr/bin/env python3
"""A sessionwire client that knows nothing but docs/wire.md, with Python's standard library alone.

    python_client.py HOST PORT     talks to an echo of the protocol "echo/1"
    python_client.py --vectors DOC checks its encoding against the vectors of docs/wire.md
"""

import socket
import struct
import sys

# Section 4: tags, with the kinds of their fields in order.
FRAMES = {
    0: ("Data", [("channel", "u32"), ("flags", "u8"), ("payload", "bytes")]),
    1: ("Open", [("channel", "u32"), ("window", "u32"), ("priority", "u8"), ("protocol", 255)]),
    2: ("Accept", [("channel", "u32"), ("window", "u32")]),
    3: ("Credit", [("channel", "u32"), ("bytes", "u32")]),
    4: ("Stop", [("channel", "u32"), ("code", "u32")]),
    5: ("Reset", [("channel", "u32"), ("code", "u32"), ("reason", 128)]),
    6: ("Ping", [("nonce", "u64")]),
    7: ("Pong", [("nonce", "u64")]),
    8: ("GoAway", [("last_channel", "u32"), ("code", "u32"), ("reason", 128)]),
    9: (
        "Hello",
        [
            ("magic", "magic"),
            ("min_version", "u8"),
            ("max_version", "u8"),
            ("max_frame", "u32"),
            ("max_message", "u32"),
            ("max_channels", "u32"),
            ("idle_timeout_ms", "u32"),
            ("capabilities", "u64"),
            ("tail", "bytes"),
        ],
    ),
    10: ("Allow", [("channels", "u32")]),
}
TAGS = {name: tag for tag, (name, _) in FRAMES.items()}
END_OF_MESSAGE, FINISH = 1, 2
MAGIC = b"swir"
FRAME_COST = 32
FLOOR_FRAME, FLOOR_WINDOW, MAX_WINDOW = 16_384, 65_536, 1 << 30
LEAST_CREDIT = 4_096 + FRAME_COST


class Invalid(Exception):
    """A body that section 3 forbids, by the name of section 17."""


class ProtocolError(Exception):
    """The server did what it must not, or the connection ended."""


# Section 3: encoding of fields.


def put_number(value):
    if value <= 250:
        return bytes([value])
    if value <= 0xFFFF:
        return b"\xfb" + struct.pack("<H", value)
    if value <= 0xFFFF_FFFF:
        return b"\xfc" + struct.pack("<I", value)
    return b"\xfd" + struct.pack("<Q", value)


def put_bytes(value):
    return put_number(len(value)) + value


class Reader:
    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, count):
        if count > len(self.body) - self.at:
            raise Invalid("Truncated")
        self.at += count
        return self.body[self.at - count : self.at]

    def number(self, bits):
        first = self.take(1)[0]
        if first <= 250:
            return first
        if first > 0xFD or (first == 0xFD and bits == 32):
            raise Invalid("Number")
        form = {0xFB: "<H", 0xFC: "<I", 0xFD: "<Q"}[first]
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        if len(put_number(value)) != 1 + struct.calcsize(form):
            raise Invalid("Number")
        return value

    def field(self, kind):
        if kind == "u8":
            return self.take(1)[0]
        if kind in ("u32", "u64"):
            return self.number(int(kind[1:]))
        if kind == "magic":
            return self.take(4)
        value = self.take(self.number(64))
        if kind == "bytes":
            return value
        if len(value) > kind:
            raise Invalid("TextTooLong")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise Invalid("NotUtf8") from None


def decode(body):
    reader = Reader(body)
    tag = reader.number(32)
    if tag not in FRAMES:
        raise Invalid("UnknownTag")
    name, fields = FRAMES[tag]
    values = {}
    for field, kind in fields:
        values[field] = reader.field(kind)
        if field == "flags" and values[field] & ~(END_OF_MESSAGE | FINISH):
            raise Invalid("UnknownFlags")
    if reader.at != len(body):
        raise Invalid("Trailing")
    return name, values


def encode(name, **values):
    tag = TAGS[name]
    body = put_number(tag)
    for field, kind in FRAMES[tag][1]:
        value = values[field]
        if kind == "u8":
            body += bytes([value])
        elif kind in ("u32", "u64"):
            body += put_number(value)
        elif kind == "magic":
            body += value
        else:
            body += put_bytes(value if kind == "bytes" else value.encode("utf-8"))
    return struct.pack(">I", len(body)) + body


def tcp(host, port):
    stream = socket.create_connection((host, port), timeout=30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


class Client:
    """One connection with one channel at a time: number 1, 3, 5, …

    `stream` is a socket, or has the same `sendall`, `recv`, `shutdown` and `close`.
    """

    max_frame, max_message, window = FLOOR_FRAME, 1 << 20, 1 << 17

    def __init__(self, stream):
        self.socket = stream
        self.peer_max_frame, self.peer_max_message = FLOOR_FRAME, self.max_message
        self.introduced = False
        self.goodbye = None
        self.last_peer_channel = 0
        self.peer_channels_seen = 0
        self.next_channel = 1
        self.channel = None
        self.frames = {}
        self.send(
            "Hello",
            magic=MAGIC,
            min_version=1,
            max_version=1,
            max_frame=self.max_frame,
            max_message=self.max_message,
            max_channels=16,
            idle_timeout_ms=0,
            capabilities=0,
            tail=b"",
        )

    def send(self, name, **values):
        self.socket.sendall(encode(name, **values))

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            if not more:
                if data:
                    raise ProtocolError("the stream ends inside a frame")
                return None
            data += more
        return bytes(data)

    def receive(self):
        """Reads one frame and does what it asks for; false at the end of the stream."""
        prefix = self.exactly(4)
        if prefix is None:
            return False
        (length,) = struct.unpack(">I", prefix)
        if not 1 <= length <= self.max_frame:
            raise ProtocolError(f"a frame of {length} bytes")
        body = self.exactly(length)
        if body is None:
            raise ProtocolError("the stream ends inside a frame")
        name, values = decode(body)
        if (name == "Hello") == self.introduced:
            raise ProtocolError(f"{name} out of place")
        self.frames[name] = self.frames.get(name, 0) + 1
        getattr(self, "on_" + name.lower())(**values)
        return True

    def on_hello(self, magic, min_version, max_version, max_frame, max_message, **_):
        if magic != MAGIC or not min_version <= 1 <= max_version or max_frame < FLOOR_FRAME:
            raise ProtocolError("no sessionwire server of version 1")
        self.introduced = True
        self.peer_max_frame, self.peer_max_message = max_frame, max_message

    def on_ping(self, nonce):
        self.send("Pong", nonce=nonce)

    def on_pong(self, nonce):
        pass

    def on_allow(self, channels):
        pass

    def on_goaway(self, last_channel, code, reason):
        self.goodbye = code
        if code != 0:
            raise ProtocolError(f"goodbye, code {code}: {reason!r}")

    def on_open(self, channel, **_):
        if channel % 2 != 0 or channel <= self.last_peer_channel:
            raise ProtocolError(f"Open of channel {channel}")
        self.last_peer_channel = channel
        self.send("Reset", channel=channel, code=2, reason="a client that serves nothing")

    def mine(self, channel):
        """The channel, if it is the one that lives and not an old one."""
        if channel == 0 or (channel % 2 == 1 and channel >= self.next_channel):
            raise ProtocolError(f"a frame for channel {channel}, which was never opened")
        if channel % 2 == 0 and channel > self.last_peer_channel:
            raise ProtocolError(f"a frame for channel {channel}, which was never opened")
        if self.channel and self.channel.number == channel and not self.channel.over():
            return self.channel
        return None

    def on_accept(self, channel, window):
        if mine := self.mine(channel):
            if mine.accepted or not FLOOR_WINDOW <= window <= MAX_WINDOW:
                raise ProtocolError("Accept out of place")
            mine.accepted = True
            mine.credit += window - FLOOR_WINDOW

    def on_credit(self, channel, bytes):  # the field's name
        if mine := self.mine(channel):
            mine.credit += bytes
            if mine.credit > MAX_WINDOW:
                raise ProtocolError("too much credit")

    def on_stop(self, channel, code):
        mine = self.mine(channel)
        if mine and not mine.finished:
            mine.stopped = code
            mine.finish()

    def on_reset(self, channel, code, reason):
        if mine := self.mine(channel):
            mine.reset = (code, reason)

    def on_data(self, channel, flags, payload):
        if not payload and not flags:
            raise ProtocolError("Data without anything")
        if mine := self.mine(channel):
            mine.data(flags, payload)

    def open(self, protocol):
        self.channel = Channel(self, self.next_channel)
        self.next_channel += 2
        self.send(
            "Open",
            channel=self.channel.number,
            window=self.window,
            priority=1,
            protocol=protocol,
        )
        return self.channel

    def go_away(self):
        """Leaves: answers whether the server ended the stream and nothing else."""
        self.send("GoAway", last_channel=self.last_peer_channel, code=0, reason="")
        self.socket.shutdown(socket.SHUT_WR)
        while self.receive():
            pass
        self.socket.close()


class Channel:
    def __init__(self, client, number):
        self.client, self.number = client, number
        self.credit = FLOOR_WINDOW
        self.accepted = self.finished = self.peer_finished = False
        self.stopped = self.reset = None
        # What the server may still send, and what of it was read and is not yet granted again.
        self.granted, self.unread, self.to_grant = client.window, 0, 0
        self.parts, self.messages = b"", []

    def over(self):
        return self.reset is not None or (self.finished and self.peer_finished)

    def check(self):
        if self.reset is not None:
            raise ProtocolError(f"reset, code {self.reset[0]}: {self.reset[1]!r}")

    def wait(self):
        if not self.client.receive():
            raise ProtocolError("the stream ended without a goodbye")

    def send_part(self, payload, flags):
        """One Data frame, once there is credit for it."""
        cost = len(payload) + FRAME_COST
        while self.credit < cost and self.stopped is None:
            self.check()
            self.wait()
        self.check()
        if self.stopped is None:
            self.credit -= cost
            self.client.send("Data", channel=self.number, flags=flags, payload=payload)

    def send(self, message, part=None):
        """A message, in parts of at most `part` bytes."""
        if len(message) > self.client.peer_max_message:
            raise ProtocolError("a message larger than the server takes")
        most = min(part or 4_096, self.client.peer_max_frame - 12)
        parts = [message[at : at + most] for at in range(0, len(message), most)] or [b""]
        for payload in parts[:-1]:
            self.send_part(payload, 0)
        self.send_part(parts[-1], END_OF_MESSAGE)

    def data(self, flags, payload):
        if self.peer_finished:
            raise ProtocolError("Data after FINISH")
        ends, finishes = flags & END_OF_MESSAGE, flags & FINISH
        if payload or ends:
            cost = len(payload) + FRAME_COST
            if cost > self.granted:
                raise ProtocolError("Data beyond the credit")
            self.granted -= cost
            self.unread += cost
            self.parts += payload
            if len(self.parts) > self.client.max_message:
                self.reset = (4, "too large")
                self.client.send("Reset", channel=self.number, code=4, reason="too large")
                return
            if ends:
                self.messages.append(self.parts)
                self.parts = b""
            elif not self.messages:
                # Only an incomplete message is held: it counts as read.
                self.grant(self.unread)
        if finishes:
            if self.parts or (payload and not ends):
                raise ProtocolError("FINISH inside a message")
            self.peer_finished = True

    def grant(self, cost):
        self.unread -= cost
        self.to_grant += cost
        if self.to_grant >= self.client.window // 2 and not (self.peer_finished or self.over()):
            self.client.send("Credit", channel=self.number, bytes=self.to_grant)
            self.granted += self.to_grant
            self.to_grant = 0

    def receive(self):
        """The next message, none when the server has finished."""
        while not self.messages:
            self.check()
            if self.peer_finished:
                return None
            self.wait()
        message = self.messages.pop(0)
        if not self.messages:
            self.grant(self.unread)
        return message

    def finish(self):
        if not self.finished and self.reset is None:
            self.finished = True
            self.client.send("Data", channel=self.number, flags=FINISH, payload=b"")


def talk(client):
    # All at once, before the server's Hello: small, empty, and in several Data frames.
    channel = client.open("echo/1")
    first = [b"hello", b"", b"in several parts", bytes(range(256)) * 40]
    for message, part in zip(first, [None, None, 5, 3_000]):
        channel.send(message, part)
    for message in first:
        assert channel.receive() == message, "another echo"

    # Far more than the credit there is at any time, both ways.
    sent = 0
    for turn in range(40):
        message = bytes([turn]) * (turn * 2_000 + 1)
        channel.send(message)
        assert channel.receive() == message, f"another echo of message {turn}"
        sent += len(message)
    large = b"larger than every window " * 20_000
    channel.send(large, 16_000)
    assert channel.receive() == large, "another echo of the large message"
    channel.finish()
    assert channel.receive() is None and channel.over(), "the echo did not finish"
    assert channel.accepted

    # A second channel, and a refusal.
    refused = client.open("no such protocol")
    try:
        refused.receive()
        raise AssertionError("a protocol that nobody speaks was accepted")
    except ProtocolError:
        assert refused.reset[0] == 2, refused.reset
    again = client.open("echo/1")
    again.send(b"again")
    again.finish()
    assert again.receive() == b"again" and again.receive() is None

    client.go_away()
    count = sum(client.frames.values())
    return f"{sent + len(large)} bytes echoed, {count} frames received {client.frames}"


# Section 17.


def vectors(path):
    kind, counts = None, {"vectors": 0, "invalid-vectors": 0}
    with open(path, encoding="utf-8") as document:
        for line in document.read().split("\n"):
            if line.startswith("```"):
                kind = line[3:] if kind is None else None
            elif kind in counts:
                check(kind, line)
                counts[kind] += 1
    assert all(counts.values()), counts
    print(f"ok: {counts}")


def check(kind, line):
    name, rest = line.split(" = ", 1)
    words, meaning = rest.split(" : ", 1)
    frame = b""
    for word in words.split():
        data, _, times = word.partition("*")
        frame += bytes.fromhex(data) * int(times or 1)
    (length,) = struct.unpack(">I", frame[:4])
    assert length == len(frame) - 4, name
    try:
        decoded, values = decode(frame[4:])
    except Invalid as error:
        assert kind == "invalid-vectors" and str(error) == meaning, (name, error)
        return
    assert kind == "vectors", name
    assert encode(decoded, **values) == frame, name
    told = [decoded] + [f"{field}={show(value)}" for field, value in values.items()]
    assert " ".join(told) == meaning, (told, meaning)


def show(value):
    if isinstance(value, int):
        return str(value)
    if isinstance(value, bytes):
        alike = len(value) > 9 and len(set(value)) == 1
        return f"{value[:1].hex()}*{len(value)}" if alike else value.hex() or "-"
    alike = len(value) > 32 and len(set(value)) == 1
    return f'"{value[0]}"*{len(value)}' if alike else f'"{value}"'


if __name__ == "__main__":
    if sys.argv[1] == "--vectors":
        vectors(sys.argv[2])
    else:
        print("ok:", talk(Client(tcp(sys.argv[1], int(sys.argv[2])))))
