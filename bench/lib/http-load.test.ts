import type { RequestListener, Server } from "node:http";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { load } from "./http-load.ts";

let server: Server | undefined;

const serve = async (listener: RequestListener): Promise<number> => {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return (started.address() as AddressInfo).port;
};

const echo: RequestListener = (request, response) => {
  let body = "";
  request.on("data", (chunk: Buffer) => {
    body += chunk.toString("utf8");
  });
  request.on("end", () => response.end(`${request.method} ${request.url} ${body}`));
};

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
});

describe("load", () => {
  test("measures exactly the requests asked for, each with the answer to its own request", async () => {
    const port = await serve(echo);
    const result = await load({
      port,
      connections: 4,
      variants: 10,
      request: (i) => ({ path: `/${i}`, body: `"${i}"`, expect: { status: 200, body: new RegExp(`^POST /${i} "${i}"$`) } }),
      warmupMs: 10,
      count: 100,
    });
    expect(result).toMatchObject({ count: 100, errors: 0 });
    expect(result.p50Ms).toBeGreaterThan(0);
    expect(result.p99Ms).toBeGreaterThanOrEqual(result.p50Ms);
    expect(result.perSecond).toBeCloseTo(100_000 / result.elapsedMs);
  });

  test("keeps as many requests in flight as it has connections", async () => {
    // The first answers wait until all eight connections have asked, so that fewer would never end.
    const waiting: (() => void)[] = [];
    let gateOpen = false;
    let inFlight = 0;
    let most = 0;
    const port = await serve((_request, response) => {
      most = Math.max(most, ++inFlight);
      response.once("finish", () => inFlight--);
      waiting.push(() => response.end("done"));
      gateOpen ||= waiting.length === 8;
      if (gateOpen) for (const release of waiting.splice(0)) release();
    });
    const result = await load({ port, connections: 8, request: () => ({ path: "/", expect: { status: 200 } }), warmupMs: 0, count: 80 });
    expect(result).toMatchObject({ errors: 0 });
    expect(most).toBe(8);
  });

  test("counts wrong answers and lost connections as errors and goes on", async () => {
    let requests = 0;
    const port = await serve((request, response) => {
      requests++;
      if (requests % 10 === 3) response.end("wrong");
      else if (requests % 10 === 7) request.socket.destroy();
      else response.end("right");
    });
    const request = () => ({ method: "GET", path: "/", expect: { status: 200, body: /^right$/ } });
    const result = await load({ port, connections: 1, request, warmupMs: 0, count: 50 });
    expect(result.errors).toBeGreaterThanOrEqual(8);
    expect(result.count).toBeGreaterThan(30);
    expect(result.errorSamples.join(" ")).toMatch(/wrong/);
    expect(result.errorSamples.join(" ")).toMatch(/closed|hang up|RESET/i);
  });

  test("rejects when nothing succeeded", async () => {
    const port = await serve((_request, response) => response.writeHead(500).end("no"));
    const request = () => ({ path: "/", expect: { status: 200 } });
    await expect(load({ port, connections: 2, request, warmupMs: 10, durationMs: 50 })).rejects.toThrow(/no request succeeded.*status 500/);
  });
});
