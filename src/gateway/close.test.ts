import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { expect, test, vi } from "vitest";
import { open } from "../../test/support/gateway.ts";
import { ManualClock } from "../../test/support/manual-clock.ts";
import { EventReader } from "../../test/support/sse.ts";

const CALL = "/v1/functions/pay/calls";
const head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

test("closing ends event streams in good order", async () => {
  const { gateway } = await open();
  const reader = await EventReader.open(`${gateway.url}/v1/events`);
  await gateway.close();
  await reader.untilEnded();
  expect(reader.response.complete).toBe(true);
});

test("closing answers who waits for a run with how that stands", async () => {
  const { gateway, plane, call } = await open();
  const id = await plane.put("coordinator", "booking");
  const waiting = call(`/v1/runs/${id}/result?wait=60s`);
  const starting = call(`${CALL}?wait=60s`, { body: {} });
  await vi.waitUntil(() => plane.asked.filter(([method]) => method === "result").length === 2, { interval: 1 });
  await gateway.close();
  expect([(await waiting).status, (await waiting).json]).toEqual([202, { id, status: "running" }]);
  expect([(await starting).status, (await starting).json.status]).toEqual([202, "running"]);
});

test("closing lets a request under way finish", async () => {
  const { gateway, plane, call } = await open({ closeTimeoutMs: 4_000 });
  let accept = (_: { id: string; existing: boolean }): void => undefined;
  const started = vi.spyOn(plane, "start").mockImplementation(() => new Promise((resolve) => (accept = resolve)));
  const answer = call(CALL, { body: {} });
  await vi.waitUntil(() => started.mock.calls.length === 1, { interval: 1 });
  const closed = gateway.close();
  accept({ id: "run_00000000007", existing: false });
  expect((await answer).status).toBe(202);
  await closed;
});

test("closing waits no longer than it may", async () => {
  const clock = new ManualClock();
  const { gateway, plane, raw } = await open({ clock, closeTimeoutMs: 3_000 });
  const started = vi.spyOn(plane, "start").mockImplementation(() => new Promise(() => undefined));
  const answer = expect(raw(CALL, { body: {} })).rejects.toThrow("socket hang up");
  await vi.waitUntil(() => started.mock.calls.length === 1, { interval: 1 });
  let isClosed = false;
  const closed = gateway.close().then(() => {
    isClosed = true;
  });
  clock.advance(2_999);
  await new Promise(setImmediate);
  expect(isClosed).toBe(false);
  clock.advance(1);
  await Promise.all([answer, closed]);
  expect(clock.armed).toBe(0);
});

test("closing does not wait for connections that are kept alive without a request", async () => {
  const { gateway } = await open({ closeTimeoutMs: 60_000 });
  const agent = new Agent({ keepAlive: true });
  const [response] = await once(request(`${gateway.url}/healthz`, { agent }).end(), "response");
  response.resume();
  await once(response, "end");
  await gateway.close();
  agent.destroy();
});

test.each([
  ["new work", `POST ${CALL} HTTP/1.1\r\n${head}`, 503, '"code":"SHUTTING_DOWN"'],
  ["a question for readiness", "GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n", 503, '"reason":"the platform is stopping"'],
  ["a question for health", "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n", 200, '{"status":"ok"}'],
])("while the gateway closes, %s on a connection that is still open is told so", async (_, next, status, part) => {
  const { gateway, plane, raw } = await open({ clock: new ManualClock() });
  let accept = (_: { id: string; existing: boolean }): void => undefined;
  const started = vi.spyOn(plane, "start").mockImplementation(() => new Promise((resolve) => (accept = resolve)));
  const socket = connect(gateway.port, "127.0.0.1");
  socket.write(`POST ${CALL} HTTP/1.1\r\n${head}`);
  await vi.waitUntil(() => started.mock.calls.length === 1, { interval: 1 });
  const closed = gateway.close();
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk;
    if (received.includes("202 Accepted") && received.endsWith("}")) socket.write(next);
  });
  await vi.waitFor(() => expect(raw("/healthz")).rejects.toThrow("ECONNREFUSED"), { interval: 1 });
  accept({ id: "run_00000000007", existing: false });
  await once(socket, "close");
  await closed;
  const answer = received.slice(received.lastIndexOf("HTTP/1.1"));
  expect(answer).toMatch(`HTTP/1.1 ${status} `);
  expect(answer).toContain(part);
  expect(answer.toLowerCase()).toContain("connection: close");
});

test("closing twice is closing once", async () => {
  const { gateway } = await open();
  const first = gateway.close();
  expect(gateway.close()).toBe(first);
  await first;
});
