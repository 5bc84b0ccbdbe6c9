// What clients in JavaScript try on an echo of the protocol "echo/1", by the WebSocket interface of
// browsers, which Node's library `ws` has too. Each of `conversations` resolves to what it found.

import { Client, same } from "./wire.mjs";

/** Connects; `connect` makes a WebSocket, `say` sends bytes on it. */
export async function opened(connect, say = (socket, bytes) => socket.send(bytes)) {
  const socket = connect();
  socket.binaryType = "arraybuffer";
  const session = { socket };
  const open = new Promise((resolve, reject) => {
    socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
    socket.addEventListener("open", () => {
      // At once, as the server's first message may be here already.
      session.client = new Client((bytes) => {
        // What crosses the server's Close is lost.
        if (socket.readyState === 1) say(socket, bytes);
      });
      resolve(session);
    });
  });
  socket.addEventListener("message", ({ data }) => {
    if (data instanceof ArrayBuffer) session.client.receive(new Uint8Array(data));
    else session.client.end(new Error("a text message"));
  });
  session.closed = new Promise((resolve) => {
    socket.addEventListener("close", ({ code, reason, wasClean }) => {
      session.client?.end(new Error(`the WebSocket ended: ${code} ${reason}`));
      resolve({ code, reason, wasClean });
    });
  });
  return open;
}

/** A conversation of a few messages, the last of `size` bytes. */
export async function exchange(client, size = 700) {
  const channel = client.open("echo/1");
  const messages = [
    new TextEncoder().encode("hello"),
    new Uint8Array(0),
    Uint8Array.from({ length: size }, (_, at) => (at * 31) % 253),
  ];
  for (const message of messages) {
    await channel.send(message, Math.max(100, size / 50));
    expect(same(await channel.receive(), message), "another echo");
  }
  channel.finish();
  expect((await channel.receive()) === null, "the echo did not finish");
}

/** Leaves; the server closes the WebSocket, with 1000. */
export async function left({ client, closed }) {
  client.goAway();
  expectClose(await closed, 1000);
}

export function expectClose(close, code) {
  expect(close.code === code && close.wasClean, `closed ${JSON.stringify(close)}, not ${code}`);
}

export function expect(holds, problem) {
  if (!holds) throw new Error(problem);
}

function oneByteEach(socket, bytes) {
  for (const byte of bytes) socket.send(Uint8Array.of(byte));
}

function withEmptyMessages(socket, bytes) {
  for (const part of [bytes.subarray(0, 0), bytes.subarray(0, 3), bytes.subarray(3)]) {
    socket.send(part);
    socket.send(new Uint8Array(0));
  }
}

export const conversations = {
  async wholeConversation(connect) {
    const session = await opened(connect);
    for (const size of [1, 20_000, 500_000]) await exchange(session.client, size);
    const refused = session.client.open("no such protocol");
    await session.client.until(() => refused.reset);
    expect(refused.reset.code === 2, `refused with ${refused.reset.code}`);
    await left(session);
    return JSON.stringify(session.client.frames);
  },

  async manners(connect) {
    for (const say of [oneByteEach, withEmptyMessages]) {
      const session = await opened(connect, say);
      await exchange(session.client);
      await left(session);
    }
    return "one byte each, empty messages";
  },

  /** Hello, Open and a message that finishes, as two messages, cut at each byte. */
  async splitEverywhere(connect) {
    let length = 2;
    for (let at = 1; at < length; at += 1) {
      const held = [];
      const session = await opened(connect, (socket, bytes) => {
        if (held === null) socket.send(bytes);
        else held.push(...bytes);
      });
      const channel = session.client.open("echo/1");
      await channel.send(Uint8Array.of(1, 2, 3), 2);
      channel.finish();
      length = held.length;
      session.socket.send(Uint8Array.from(held.slice(0, at)));
      session.socket.send(Uint8Array.from(held.slice(at)));
      expect(same(await channel.receive(), [1, 2, 3]), `another echo, cut at ${at}`);
      expect((await channel.receive()) === null, "the echo did not finish");
      session.socket.close(1000);
      expectClose(await session.closed, 1000);
    }
    return `${length} bytes, cut at each`;
  },

  async compressionIsDeclined(connect) {
    const session = await opened(connect);
    expect(session.socket.extensions === "", `extensions: ${session.socket.extensions}`);
    await exchange(session.client, 10_000);
    await left(session);
    return "no extension";
  },

  async closeByClient(connect) {
    const codes = [[1000, ""], [3000, "größer"], [4999, "x".repeat(123)]];
    for (const [code, reason] of codes) {
      const session = await opened(connect);
      await exchange(session.client);
      session.socket.close(code, reason);
      expectClose(await session.closed, code);
    }
    const session = await opened(connect);
    await exchange(session.client);
    session.socket.close();
    // The code of section 7.1.5 of RFC 6455 for a Close without one.
    expectClose(await session.closed, 1005);
    return `${codes.length} codes, and none`;
  },

  async closeByServer(connect) {
    const session = await opened(connect);
    await exchange(session.client);
    session.socket.send("text");
    // Not a clean end: the server need not wait for an answer (section 7.1.7 of RFC 6455).
    const close = await session.closed;
    expect(close.code === 1003, `closed ${JSON.stringify(close)}`);
    return "text";
  },
};
