// The conversations over Node's library `ws`, which is found by NODE_PATH.
//
//     node_client.mjs ws://HOST:PORT/PATH CASE

import { createRequire } from "node:module";

import { conversations, exchange, expect, expectClose, left, opened } from "./conversations.mjs";

const { WebSocket } = createRequire(import.meta.url)("ws");

function fragmentsOf(size) {
  return (socket, bytes) => {
    for (let at = 0; at < bytes.length; at += size) {
      const fin = at + size >= bytes.length;
      socket.send(bytes.subarray(at, at + size), { fin });
    }
  };
}

function pingsBetweenFragments(socket, bytes) {
  for (let at = 0; at < bytes.length; at += 5) {
    socket.ping(`ping ${at}`);
    socket.pong();
    socket.send(bytes.subarray(at, at + 5), { fin: at + 5 >= bytes.length });
  }
}

const own = {
  async fragments(connect) {
    const ways = [fragmentsOf(1), fragmentsOf(3), pingsBetweenFragments];
    for (const way of ways) {
      const session = await opened(connect, way);
      const pongs = [];
      session.socket.on("pong", (payload) => pongs.push(String(payload)));
      await exchange(session.client);
      expect((way === pingsBetweenFragments) === (pongs.length > 0), `${pongs.length} pongs`);
      await left(session);
    }
    return `${ways.length} ways`;
  },

  async compression(connect) {
    for (const perMessageDeflate of [true, false]) {
      const session = await opened(() => connect({ perMessageDeflate }));
      expect(session.socket.extensions === "", `extensions: ${session.socket.extensions}`);
      await exchange(session.client, 10_000);
      await left(session);
    }
    return "offered and not offered";
  },

  async tooLargeMessage(connect) {
    const session = await opened(connect);
    await exchange(session.client);
    session.socket.send(new Uint8Array((64 << 20) + 1));
    const close = await session.closed;
    expect(close.code === 1009, `closed ${JSON.stringify(close)}`);
    return "1009";
  },

  /** The server closes with a code and a reason of its own, at once. */
  async closeOfApplication(connect) {
    const socket = connect();
    const close = await new Promise((resolve) => socket.addEventListener("close", resolve));
    expectClose(close, 4001);
    expect(close.reason === "größer", close.reason);
    return "4001";
  },

  /** A server that is told to stop says GoAway, then Close. */
  async closeOnSignal(connect) {
    const session = await opened(connect);
    await exchange(session.client);
    console.log("ready");
    expectClose(await session.closed, 1000);
    expect(session.client.goodbye === 0, `goodbye ${session.client.goodbye}`);
    return "the server said goodbye";
  },
};

const [url, name] = process.argv.slice(2);
const found = await { ...conversations, ...own }[name]((options) => new WebSocket(url, options));
console.log(`ok: ${found}`);
