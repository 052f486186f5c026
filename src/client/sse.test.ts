import fc from "fast-check";
import { expect, test } from "vitest";
import type { StreamMessage } from "./sse.ts";
import { StreamReader } from "./sse.ts";

test("messages keep the last id, take the event's name of their own, and join lines of data", () => {
  const reader = new StreamReader();
  const text = "id: 1\nevent: a\ndata: x\ndata:y\n\n: comment\n\ndata: z\n\nevent: b\n\nid\ndata\n\n";
  expect(reader.push(text)).toEqual([
    { id: "1", event: "a", data: "x\ny" },
    { id: "1", event: "", data: "z" },
    { id: "", event: "", data: "" },
  ]);
});

test("however a stream is cut into pieces and whatever ends its lines, the same messages come out", () => {
  const messages = fc.array(fc.record({ id: fc.nat().map(String), event: fc.constantFrom("a", "run.done"), data: fc.json() }));
  fc.assert(
    fc.property(
      messages,
      fc.constantFrom("\n", "\r\n", "\r"),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
      (sent, end, cuts) => {
        const text =
          sent.map(({ id, event, data }) => [`id: ${id}`, `event: ${event}`, `data: ${data}`, "", ""].join(end)).join("") +
          (end === "\r" ? ":" : "");
        const reader = new StreamReader();
        const received: StreamMessage[] = [];
        for (let at = 0, i = 0; at < text.length; i++) {
          const length = cuts[i % cuts.length] as number;
          received.push(...reader.push(text.slice(at, at + length)));
          at += length;
        }
        expect(received).toEqual(sent);
      },
    ),
  );
});
