import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ResponseReader } from "./http-response.ts";

const read = (chunks: Iterable<Uint8Array>): { status: number; body: string; keepAlive: boolean }[] => {
  const responses: { status: number; body: string; keepAlive: boolean }[] = [];
  const reader = new ResponseReader((status, body, keepAlive) => void responses.push({ status, body, keepAlive }));
  for (const chunk of chunks) reader.push(Buffer.from(chunk));
  expect(reader.partial).toBe(false);
  return responses;
};

const withLength = (status: number, body: string): string =>
  `HTTP/1.1 ${status} Any\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

const chunked = (status: number, parts: string[]): string => {
  const chunks = parts.map((part) => `${Buffer.byteLength(part).toString(16)}\r\n${part}\r\n`);
  return `HTTP/1.1 ${status} Any\r\ntransfer-encoding: chunked\r\n\r\n${chunks.join("")}0\r\n\r\n`;
};

describe("ResponseReader", () => {
  test("reads responses however their bytes are cut", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 });
    const response = fc.oneof(
      fc.record({ wire: fc.constant("length"), parts: fc.tuple(text) }),
      fc.record({ wire: fc.constant("chunked"), parts: fc.array(text.filter((part) => part !== "")) }),
    );
    fc.assert(
      fc.property(fc.array(response, { minLength: 1, maxLength: 5 }), fc.array(fc.nat(60)), (responses, cuts) => {
        const wire = responses.map(({ wire, parts }) => (wire === "length" ? withLength(200, parts.join("")) : chunked(200, parts)));
        const bytes = Buffer.from(wire.join(""));
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        pieces.push(bytes.subarray(at));
        expect(read(pieces).map(({ body }) => body)).toEqual(responses.map(({ parts }) => parts.join("")));
      }),
    );
  });

  test("tells the status and whether the connection stays open", () => {
    const closing = "HTTP/1.1 503 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    expect(read([Buffer.from(withLength(202, "x") + closing)])).toEqual([
      { status: 202, body: "x", keepAlive: true },
      { status: 503, body: "", keepAlive: false },
    ]);
  });

  test("passes over interim responses and knows those without a body", () => {
    const bytes = `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n${withLength(200, "after")}`;
    expect(read([Buffer.from(bytes)]).map(({ status, body }) => [status, body])).toEqual([
      [204, ""],
      [200, "after"],
    ]);
  });

  test("refuses what is no HTTP response and what has no end", () => {
    const reader = new ResponseReader(() => undefined);
    expect(() => reader.push(Buffer.from("SSH-2.0-x\r\n\r\n"))).toThrow("not an HTTP/1.1 response");
    expect(() => new ResponseReader(() => undefined).push(Buffer.from("HTTP/1.1 200 OK\r\n\r\nbody"))).toThrow("neither Content-Length");
  });
});
