import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FrameDecoder, FrameEncoder, MAX_FRAME_BYTES } from "./frames.ts";

const frameOf = (encoder: FrameEncoder<unknown>, messages: readonly unknown[]): Buffer => Buffer.concat(encoder.encode(messages));

const rawFrame = (body: Uint8Array): Buffer => {
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length);
  return Buffer.concat([header, body]);
};

/** Cuts bytes at the given places. */
const cut = (bytes: Buffer, places: readonly number[]): Buffer[] => {
  const at = [...new Set([0, ...places.map((place) => place % (bytes.length + 1)), bytes.length])].sort((a, b) => a - b);
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
};

// The encoder writes -0 as the integer 0. The key `__proto__` has a test of its own.
const value = fc
  .jsonValue()
  .map((json) => JSON.stringify(json))
  .filter((json) => !json.includes("__proto__"))
  .map((json) => JSON.parse(json) as unknown);
const message = fc.oneof(
  fc.record({ t: fc.constant("call"), seq: fc.nat(), fn: fc.string(), input: fc.string({ unit: "grapheme" }) }),
  fc.record(
    { t: fc.constantFrom("a", "b"), at: fc.double({ noNaN: true }).map((at) => at + 0), flag: fc.boolean() },
    { requiredKeys: ["t"] },
  ),
  value,
);
const turns = fc.array(fc.array(message, { maxLength: 5 }), { maxLength: 12 });

describe("frames", () => {
  test("give the messages back in order, however the stream was cut into chunks", () => {
    fc.assert(
      fc.property(turns, fc.array(fc.nat(), { maxLength: 20 }), (batches, places) => {
        const encoder = new FrameEncoder<unknown>();
        const decoder = new FrameDecoder<unknown>();
        const stream = Buffer.concat(batches.map((batch) => frameOf(encoder, batch)));
        const received = cut(stream, places).flatMap((chunk) => decoder.push(chunk));
        expect(received).toEqual(batches.flat());
      }),
    );
  });

  test("give no key back by which a message could reach a prototype", () => {
    const hostile: unknown = JSON.parse('{"__proto__":{"isAdmin":true},"a":1}');
    const [received] = new FrameDecoder<Record<string, unknown>>().push(frameOf(new FrameEncoder<unknown>(), [hostile]));
    expect(received).toMatchObject({ a: 1 });
    expect(Object.hasOwn(received!, "__proto__")).toBe(false);
    expect(received!.isAdmin).toBeUndefined();
    expect(Object.getPrototypeOf(received)).toBe(Object.prototype);
  });

  test("give the messages back byte by byte", () => {
    fc.assert(
      fc.property(turns, (batches) => {
        const encoder = new FrameEncoder<unknown>();
        const decoder = new FrameDecoder<unknown>();
        const stream = Buffer.concat(batches.map((batch) => frameOf(encoder, batch)));
        const received = [...stream].flatMap((byte) => decoder.push(Buffer.of(byte)));
        expect(received).toEqual(batches.flat());
      }),
      { numRuns: 30 },
    );
  });

  test("give messages as soon as their last byte is there", () => {
    const encoder = new FrameEncoder<unknown>();
    const decoder = new FrameDecoder<unknown>();
    const [first, second] = [frameOf(encoder, [{ a: 1 }]), frameOf(encoder, [{ a: 2 }, { a: 3 }])];
    expect(decoder.push(Buffer.concat([first, second.subarray(0, 2)]))).toEqual([{ a: 1 }]);
    expect(decoder.push(second.subarray(2, -1))).toEqual([]);
    expect(decoder.push(second.subarray(-1))).toEqual([{ a: 2 }, { a: 3 }]);
    expect(decoder.push(Buffer.alloc(0))).toEqual([]);
  });

  test("of many shapes keep them apart, on a connection that lives long", () => {
    const encoder = new FrameEncoder<unknown>();
    const decoder = new FrameDecoder<unknown>();
    for (let i = 0; i < 5_000; i++) {
      const sent = [
        { t: "call", seq: i },
        { [`key${i % 700}`]: i, t: i },
        { t: "call", seq: -1 - i, extra: { [`deep${i % 300}`]: null } },
      ];
      expect(decoder.push(frameOf(encoder, sent))).toEqual(sent);
    }
  });

  test("are encoded without looking back: an earlier frame stays what it was", () => {
    const encoder = new FrameEncoder<unknown>();
    const decoder = new FrameDecoder<unknown>();
    const parts = Array.from({ length: 200 }, (_, i) => encoder.encode([{ t: "step", seq: i, name: "x".repeat(i) }]));
    const received = parts.flatMap(([header, body]) => [...decoder.push(header), ...decoder.push(body)]);
    expect(received).toEqual(parts.map((_, i) => ({ t: "step", seq: i, name: "x".repeat(i) })));
  });

  test("of many megabytes arrive whole, with what follows them", () => {
    const encoder = new FrameEncoder<unknown>();
    const decoder = new FrameDecoder<unknown>();
    const large = [{ t: "begin", input: "é".repeat(4_000_000), history: Array.from({ length: 20_000 }, (_, seq) => ({ t: "done", seq })) }];
    const stream = Buffer.concat([frameOf(encoder, large), frameOf(encoder, [{ t: "evict" }])]);
    const received: unknown[] = [];
    for (let at = 0; at < stream.length; at += 65_536) received.push(...decoder.push(stream.subarray(at, at + 65_536)));
    expect(received).toHaveLength(2);
    expect(received).toEqual([...large, { t: "evict" }]);
  });

  test("with no messages are none", () => {
    expect(new FrameDecoder().push(frameOf(new FrameEncoder(), []))).toEqual([]);
  });
});

describe("a stream that is not of frames", () => {
  test("is refused at the header of a frame that is too large, before its body comes", () => {
    const header = Buffer.alloc(4);
    header.writeUInt32BE(101);
    expect(() => new FrameDecoder(100).push(header)).toThrow(RangeError);
    header.writeUInt32BE(100);
    expect(new FrameDecoder(100).push(header)).toEqual([]);
    header.writeUInt32BE(MAX_FRAME_BYTES + 1);
    expect(() => new FrameDecoder().push(Buffer.concat([Buffer.alloc(0), header]))).toThrow(RangeError);
  });

  test.each<[string, Uint8Array]>([
    ["an empty body", Buffer.alloc(0)],
    ["a text", Buffer.from([0xa1, 0x61])],
    ["a map", Buffer.from([0x81, 0xa1, 0x61, 0x01])],
    ["an array that ends too soon", Buffer.from([0x93, 0x01])],
    ["an array with something behind it", Buffer.from([0x91, 0x01, 0x01])],
    ["a byte that MessagePack does not know", Buffer.from([0xc1])],
  ])("is refused when a frame holds %s", (_, body) => {
    expect(() => new FrameDecoder().push(rawFrame(body))).toThrow(Error);
  });

  test("is refused, or gives arrays of whatever it says, but never ends otherwise", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), fc.boolean(), (bytes, framed) => {
        const decoder = new FrameDecoder<unknown>(1_000);
        try {
          expect(Array.isArray(decoder.push(framed ? rawFrame(bytes) : Buffer.from(bytes)))).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(Error);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test("cannot change the prototype of objects", () => {
    const body = Buffer.concat([Buffer.from([0x91, 0x81, 0xa9]), Buffer.from("__proto__"), Buffer.from([0x81, 0xa1, 0x78, 0x01])]);
    const [received] = new FrameDecoder<Record<string, unknown>>().push(rawFrame(body));
    expect(received?.x).toBeUndefined();
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });
});

test("bytes arrive as bytes, in the midst of other messages, and are not overwritten by later frames", () => {
  const encoder = new FrameEncoder<unknown>();
  const decoder = new FrameDecoder<{ data: Uint8Array; t: string }>();
  const chunks = [0, 1, 2].map((n) => new Uint8Array(300_000).fill(n + 1));
  const received = chunks.flatMap((data) => decoder.push(Buffer.concat(encoder.encode([{ t: "reply", data }, { t: "other" }]))));
  const bytes = received.filter(({ t }) => t === "reply").map(({ data }) => data);
  expect(bytes.map((data) => [data instanceof Uint8Array, data.length, data[0], data.at(-1)])).toEqual([
    [true, 300_000, 1, 1],
    [true, 300_000, 2, 2],
    [true, 300_000, 3, 3],
  ]);
});
