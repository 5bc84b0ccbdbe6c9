// A sessionwire client that knows nothing but docs/wire.md, for Node.js and for browsers: of its
// transport it needs a function that sends bytes, and to be told what comes and when that ends.

// Section 4: tags, with the kinds of their fields in order.
const FRAMES = [
  ["Data", [["channel", "u32"], ["flags", "u8"], ["payload", "bytes"]]],
  ["Open", [["channel", "u32"], ["window", "u32"], ["priority", "u8"], ["protocol", "text"]]],
  ["Accept", [["channel", "u32"], ["window", "u32"]]],
  ["Credit", [["channel", "u32"], ["bytes", "u32"]]],
  ["Stop", [["channel", "u32"], ["code", "u32"]]],
  ["Reset", [["channel", "u32"], ["code", "u32"], ["reason", "text"]]],
  ["Ping", [["nonce", "u64"]]],
  ["Pong", [["nonce", "u64"]]],
  ["GoAway", [["last_channel", "u32"], ["code", "u32"], ["reason", "text"]]],
  ["Hello", [
    ["magic", "magic"], ["min_version", "u8"], ["max_version", "u8"], ["max_frame", "u32"],
    ["max_message", "u32"], ["max_channels", "u32"], ["idle_timeout_ms", "u32"],
    ["capabilities", "u64"], ["tail", "bytes"],
  ]],
  ["Allow", [["channels", "u32"]]],
];
const END_OF_MESSAGE = 1, FINISH = 2;
const FRAME_COST = 32;
const FLOOR_FRAME = 16_384, FLOOR_WINDOW = 65_536;
const WINDOW = 131_072, MAX_MESSAGE = 1 << 20;
const NO_BYTES = new Uint8Array(0);

function check(holds, problem) {
  if (!holds) throw new Error(problem);
}

export function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

export function concatenated(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Section 3: encoding of fields. Numbers of 64 bits are BigInt when they need to be.

function number(value) {
  if (value <= 250) return [Number(value)];
  const [mark, size] = value <= 0xffff ? [0xfb, 2] : value <= 0xffffffff ? [0xfc, 4] : [0xfd, 8];
  const bytes = [mark];
  for (let rest = BigInt(value), left = size; left > 0; left -= 1, rest >>= 8n) {
    bytes.push(Number(rest & 0xffn));
  }
  return bytes;
}

export function encode(name, values) {
  const tag = FRAMES.findIndex(([known]) => known === name);
  const parts = [number(tag)];
  for (const [field, kind] of FRAMES[tag][1]) {
    const value = values[field];
    if (kind === "u8") parts.push([value]);
    else if (kind === "magic") parts.push(value);
    else if (kind === "u32" || kind === "u64") parts.push(number(value));
    else {
      const bytes = kind === "text" ? new TextEncoder().encode(value) : value;
      parts.push(number(bytes.length), bytes);
    }
  }
  const body = concatenated(parts);
  const prefix = new Uint8Array(4);
  new DataView(prefix.buffer).setUint32(0, body.length);
  return concatenated([prefix, body]);
}

export function decode(body) {
  let at = 0;
  const take = (count) => {
    check(count <= body.length - at, "a field beyond its frame");
    at += count;
    return body.subarray(at - count, at);
  };
  const varint = () => {
    const first = take(1)[0];
    if (first <= 250) return first;
    check(first <= 0xfd, "no number");
    const bytes = take({ 0xfb: 2, 0xfc: 4, 0xfd: 8 }[first]);
    const value = bytes.reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    check(number(value).length === 1 + bytes.length, "a number in too many bytes");
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  };
  const tag = varint();
  check(tag < FRAMES.length, `an unknown frame ${tag}`);
  const [name, fields] = FRAMES[tag];
  const values = {};
  for (const [field, kind] of fields) {
    if (kind === "u8") values[field] = take(1)[0];
    else if (kind === "magic") values[field] = take(4);
    else if (kind === "u32" || kind === "u64") values[field] = varint();
    else {
      const bytes = take(varint());
      values[field] = kind === "text" ? new TextDecoder("utf-8", { fatal: true }).decode(bytes) : bytes;
    }
  }
  check(at === body.length, "bytes behind a frame");
  return [name, values];
}

/** One connection with one channel at a time. */
export class Client {
  #send;
  #unread = NO_BYTES;
  #ended = null;
  #waiting = [];
  #nextChannel = 1;
  channel = null;
  introduced = false;
  goodbye = null;
  frames = {};

  /** `send` takes the bytes of one frame. */
  constructor(send) {
    this.#send = send;
    this.send("Hello", {
      magic: new TextEncoder().encode("swir"), min_version: 1, max_version: 1,
      max_frame: FLOOR_FRAME, max_message: MAX_MESSAGE, max_channels: 16,
      idle_timeout_ms: 0, capabilities: 0, tail: NO_BYTES,
    });
  }

  send(name, values) {
    this.#send(encode(name, values));
  }

  /** The transport's next bytes. */
  receive(bytes) {
    this.#unread = concatenated([this.#unread, bytes]);
    try {
      while (this.#takeFrame()) { /* one after another */ }
    } catch (error) {
      this.end(error);
    }
    this.#wake();
  }

  /** The transport's end. */
  end(error) {
    this.#ended ??= error;
    this.#wake();
  }

  /** Resolves once `condition` gives something; fails when the connection has ended without it. */
  async until(condition) {
    for (;;) {
      const found = condition();
      if (found) return found;
      if (this.#ended) throw this.#ended;
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  open(protocol) {
    this.channel = new Channel(this, this.#nextChannel);
    this.#nextChannel += 2;
    this.send("Open", { channel: this.channel.number, window: WINDOW, priority: 1, protocol });
    return this.channel;
  }

  goAway() {
    this.send("GoAway", { last_channel: 0, code: 0, reason: "" });
  }

  #wake() {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #takeFrame() {
    if (this.#unread.length < 4) return false;
    const length = new DataView(this.#unread.buffer, this.#unread.byteOffset).getUint32(0);
    check(1 <= length && length <= FLOOR_FRAME, `a frame of ${length} bytes`);
    if (this.#unread.length < 4 + length) return false;
    const [name, values] = decode(this.#unread.subarray(4, 4 + length));
    this.#unread = this.#unread.subarray(4 + length);
    check((name === "Hello") !== this.introduced, `${name} out of place`);
    this.frames[name] = (this.frames[name] ?? 0) + 1;
    this.#take(name, values);
    return true;
  }

  #take(name, values) {
    switch (name) {
      case "Hello":
        check(new TextDecoder().decode(values.magic) === "swir", "no sessionwire server");
        check(values.min_version <= 1 && 1 <= values.max_version, "another version");
        check(values.max_frame >= FLOOR_FRAME && values.max_channels >= 16, "below the least");
        this.introduced = true;
        break;
      case "Ping":
        this.send("Pong", values);
        break;
      case "GoAway":
        this.goodbye = values.code;
        check(values.code === 0, `goodbye, code ${values.code}: ${values.reason}`);
        break;
      case "Pong":
      case "Allow":
        break;
      default:
        check(name !== "Open", "a channel that nobody serves");
        check(values.channel % 2 === 1 && values.channel < this.#nextChannel, "an unknown channel");
        if (values.channel === this.channel.number) this.channel.take(name, values);
    }
  }
}

class Channel {
  #client;
  #credit = FLOOR_WINDOW;
  #granted = WINDOW;
  #toGrant = 0;
  #parts = [];
  #messages = [];
  #finished = false;
  #peerFinished = false;
  reset = null;

  constructor(client, number) {
    this.#client = client;
    this.number = number;
  }

  /** A message, in parts of at most `most` bytes, each once there is credit for it. */
  async send(message, most = 4096) {
    for (let at = 0; at === 0 || at < message.length; at += most) {
      const payload = message.subarray(at, at + most);
      const flags = at + most < message.length ? 0 : END_OF_MESSAGE;
      const cost = payload.length + FRAME_COST;
      await this.#client.until(() => this.reset || this.#credit >= cost);
      this.#check();
      this.#credit -= cost;
      this.#client.send("Data", { channel: this.number, flags, payload });
    }
  }

  /** The next message, `null` when the server has finished. */
  async receive() {
    await this.#client.until(() => this.#messages.length > 0 || this.#peerFinished || this.reset);
    if (this.#messages.length > 0) return this.#messages.shift();
    this.#check();
    return null;
  }

  finish() {
    if (this.#finished || this.reset) return;
    this.#finished = true;
    this.#client.send("Data", { channel: this.number, flags: FINISH, payload: NO_BYTES });
  }

  take(name, values) {
    switch (name) {
      case "Accept":
        check(values.window >= FLOOR_WINDOW, "a window below the least");
        this.#credit += values.window - FLOOR_WINDOW;
        break;
      case "Credit":
        this.#credit += values.bytes;
        break;
      case "Stop":
        this.finish();
        break;
      case "Reset":
        this.reset = values;
        break;
      default:
        this.#data(values);
    }
  }

  #check() {
    check(!this.reset, `reset, code ${this.reset?.code}: ${this.reset?.reason}`);
  }

  /** Everything counts as read when it comes: these clients keep up. */
  #data({ flags, payload }) {
    check(!this.#peerFinished, "Data after FINISH");
    check(payload.length > 0 || flags !== 0, "Data without anything");
    if (payload.length > 0 || flags & END_OF_MESSAGE) {
      const cost = payload.length + FRAME_COST;
      this.#granted -= cost;
      check(this.#granted >= 0, "Data beyond the credit");
      this.#grant(cost);
      this.#parts.push(payload);
    }
    if (flags & END_OF_MESSAGE) this.#messages.push(concatenated(this.#parts.splice(0)));
    if (flags & FINISH) {
      check(this.#parts.length === 0, "FINISH inside a message");
      this.#peerFinished = true;
    }
  }

  #grant(cost) {
    this.#toGrant += cost;
    if (this.#toGrant < WINDOW / 2 || this.#peerFinished) return;
    this.#client.send("Credit", { channel: this.number, bytes: this.#toGrant });
    this.#granted += this.#toGrant;
    this.#toGrant = 0;
  }
}
