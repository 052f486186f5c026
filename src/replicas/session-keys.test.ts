import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { generateSecretKey, nodeCrypto, publicKeyOf } from "./node-crypto.ts";
import type { HandshakeMessage, HandshakeOptions, HandshakeStep, PeerSession } from "./session-keys.ts";
import { Handshake, SEAL_BYTES } from "./session-keys.ts";

const secrets = Array.from({ length: 4 }, generateSecretKey);
const replicas = secrets.map(publicKeyOf);

const end = (self: number, changes: Partial<HandshakeOptions> = {}): HandshakeOptions => ({
  set: "shop/pay@1",
  epoch: 3,
  replicas,
  self,
  crypto: nodeCrypto(secrets[self]!),
  now: () => 0,
  ...changes,
});

const replyOf = (step: HandshakeStep): HandshakeMessage => {
  if ("refused" in step || step.reply === undefined) throw new Error(JSON.stringify(step));
  return step.reply;
};
const sessionOf = (step: HandshakeStep): PeerSession => {
  if ("refused" in step || step.session === undefined) throw new Error(JSON.stringify(step));
  return step.session;
};
const refusal = (step: HandshakeStep): string => ("refused" in step ? step.refused : "not refused");

const connect = (changes: Partial<HandshakeOptions> = {}): [PeerSession, PeerSession] => {
  const [dialling, listening] = [new Handshake(end(1, changes), 2), new Handshake(end(2, changes))];
  const welcome = replyOf(listening.receive(dialling.hello()));
  const step = dialling.receive(welcome);
  return [sessionOf(step), sessionOf(listening.receive(replyOf(step)))];
};

const bytes = (text: string): Buffer => Buffer.from(text);

describe("a handshake", () => {
  test("gives both ends a session with each other", () => {
    const [one, two] = connect();
    expect([one.peer, two.peer, one.epoch]).toEqual([2, 1, 3]);
    expect(two.open(one.seal(bytes("to two")))).toEqual(bytes("to two"));
    expect(one.open(two.seal(bytes("to one")))).toEqual(bytes("to one"));
    expect(two.open(one.seal(new Uint8Array(0)))).toHaveLength(0);
  });

  test("is refused for another epoch, set, receiver or sender", () => {
    const hello = (changes: Partial<HandshakeOptions>, peer = 2): HandshakeMessage => new Handshake(end(1, changes), peer).hello();
    const heard = (message: unknown): string => refusal(new Handshake(end(2)).receive(message));
    expect(heard(hello({ epoch: 2 }))).toContain("of epoch 2, this replica is in epoch 3");
    expect(heard(hello({ set: "shop/pay@2" }))).toContain("another set");
    expect(heard(hello({}, 3))).toContain("another replica");
    for (const from of [2, 4, -1, 0.5, "1", undefined]) expect(heard({ ...hello({}), from })).toContain("nobody of this set");
    expect(() => new Handshake(end(1), 1)).toThrow("no peer");
  });

  test("is refused when an end signs with a key that the membership does not name", () => {
    const other = nodeCrypto(generateSecretKey());
    const dialling = new Handshake(end(1), 2);
    const impostor = new Handshake(end(2, { crypto: other }));
    expect(refusal(dialling.receive(replyOf(impostor.receive(dialling.hello()))))).toContain("welcome's signature");

    const listening = new Handshake(end(2));
    const intruder = new Handshake(end(1, { crypto: other }), 2);
    const confirm = replyOf(intruder.receive(replyOf(listening.receive(intruder.hello()))));
    expect(refusal(listening.receive(confirm))).toContain("confirm's signature");
  });

  test("can't be replayed: the signatures of one exchange are worth nothing in another", () => {
    const dialling = new Handshake(end(1), 2);
    const listening = new Handshake(end(2));
    const hello = dialling.hello();
    const welcome = replyOf(listening.receive(hello));
    const confirm = replyOf(dialling.receive(welcome));

    const again = new Handshake(end(2));
    again.receive(hello);
    expect(refusal(again.receive(confirm))).toContain("confirm's signature");
    expect(refusal(new Handshake(end(1), 2).receive(welcome))).toContain("welcome's signature");
  });

  test("refuses its own messages when they are reflected", () => {
    const dialling = new Handshake(end(1), 2);
    expect(refusal(new Handshake(end(1)).receive(dialling.hello()))).toContain("another replica");
    expect(refusal(dialling.receive(dialling.hello()))).toContain("expected a welcome");

    const listening = new Handshake(end(2));
    const welcome = replyOf(listening.receive(new Handshake(end(1), 2).hello())) as { signature: string };
    expect(refusal(listening.receive({ t: "confirm", signature: welcome.signature }))).toContain("confirm's signature");

    // Nor is it one if both ends should ever have one key.
    const same = { replicas: replicas.with(1, replicas[2]!) };
    const alike = new Handshake(end(2, same));
    const own = replyOf(alike.receive(new Handshake(end(1, same), 2).hello())) as { signature: string };
    expect(refusal(alike.receive({ t: "confirm", signature: own.signature }))).toContain("confirm's signature");
  });

  test("between a man in the middle and each end does not come about", () => {
    const [dialling, listening] = [new Handshake(end(1), 2), new Handshake(end(2))];
    const middle = new Handshake(end(3, { crypto: nodeCrypto(secrets[3]!) }), 2);
    const swapped = { ...dialling.hello(), ephemeral: (middle.hello() as { ephemeral: string }).ephemeral };
    expect(refusal(dialling.receive(replyOf(listening.receive(swapped))))).toContain("welcome's signature");
  });

  test("takes no invalid ephemeral key, no other message and nothing after its end", () => {
    const hello = new Handshake(end(1), 2).hello();
    const zero = Buffer.alloc(32).toString("base64url");
    for (const ephemeral of [zero, "", "x", `${zero}A`, 1, undefined, zero.replace(/.$/, "B")]) {
      expect(refusal(new Handshake(end(2)).receive({ ...hello, ephemeral }))).toContain("ephemeral key is invalid");
    }
    for (const message of [undefined, null, 1, "hello", [], { t: "welcome" }, { t: "confirm" }, {}]) {
      const waiting = new Handshake(end(2));
      expect(refusal(waiting.receive(message))).not.toBe("not refused");
      expect(refusal(waiting.receive(hello))).toContain("has ended");
    }
  });
});

describe("a session", () => {
  test("opens what was sealed, in order, whatever it is", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 }), fc.integer({ min: 1, max: 5 }), (frames, every) => {
        const [one, two] = connect({ rotation: { frames: every } });
        for (const frame of frames) expect(two.open(one.seal(frame))).toEqual(Buffer.from(frame));
      }),
      { numRuns: 20 },
    );
  });

  test("refuses a frame that is repeated, left out, moved or reflected, and goes on with the right one", () => {
    const [one, two] = connect();
    const [first, second, third] = ["1", "2", "3"].map((text) => one.seal(bytes(text))) as [Buffer, Buffer, Buffer];
    expect(one.open(first)).toBeUndefined();
    expect(two.open(second)).toBeUndefined();
    expect(two.open(first)).toEqual(bytes("1"));
    expect(two.open(first)).toBeUndefined();
    expect(two.open(third)).toBeUndefined();
    expect(one.open(second)).toBeUndefined();
    expect(two.open(second)).toEqual(bytes("2"));
  });

  test("refuses a frame of which any bit is changed, and any part of one", () => {
    const [one, two] = connect();
    const frame = one.seal(bytes("pay 100 to bob"));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const changed = Buffer.from(frame);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(two.open(changed)).toBeUndefined();
    }
    for (let length = 0; length < frame.length; length++) expect(two.open(frame.subarray(0, length))).toBeUndefined();
    expect(two.open(Buffer.concat([frame, Buffer.alloc(1)]))).toBeUndefined();
    expect(two.open(frame)).toEqual(bytes("pay 100 to bob"));
    expect(frame).toHaveLength(14 + SEAL_BYTES);
  });

  test("refuses the frames of another session between the same two", () => {
    const [one] = connect();
    const [, two] = connect();
    expect(two.open(one.seal(bytes("1")))).toBeUndefined();
  });

  test("replaces its keys after a number of frames and after a time, and the other end follows", () => {
    let time = 0;
    const [one, two] = connect({ now: () => time, rotation: { frames: 3, keyMs: 1_000 } });
    const generations: number[] = [];
    for (let index = 0; index < 10; index++) {
      if (index === 4) time += 1_000;
      const frame = one.seal(bytes(`${index}`));
      generations.push(frame.readUInt32BE(0));
      expect(two.open(frame)).toEqual(bytes(`${index}`));
    }
    expect(generations).toEqual([0, 0, 0, 1, 2, 2, 2, 3, 3, 3]);
    expect(one.open(two.seal(bytes("back")))).toEqual(bytes("back"));
  });

  test("ends: after its time a new handshake is due", () => {
    let time = 0;
    const [one, two] = connect({ now: () => time, rotation: { sessionMs: 5_000 } });
    const frame = one.seal(bytes("late"));
    expect(one.expired).toBe(false);
    time = 5_000;
    expect(one.expired).toBe(true);
    expect(two.open(frame)).toBeUndefined();
    expect(() => one.seal(bytes("more"))).toThrow("connect anew");
  });
});
