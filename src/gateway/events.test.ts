import { describe, expect, test, vi } from "vitest";
import type { Running } from "../../test/support/gateway.ts";
import { open } from "../../test/support/gateway.ts";
import { ManualClock } from "../../test/support/manual-clock.ts";
import { EventReader } from "../../test/support/sse.ts";
import type { EventBody } from "../protocol/events.ts";

const accepted: EventBody = { type: "run.accepted", run: "run_00000000007", kind: "function", name: "pay" };
const failure = { code: "FUNCTION_FAILED", message: "line one\nline two" };
const bodies: EventBody[] = [
  accepted,
  { type: "call.retrying", run: "run_00000000007", seq: 1, function: "pay", attempt: 1, retryAt: 7, failure },
  { type: "run.suspended", run: "run_00000000007", name: "pay", failure },
  { type: "run.resumed", run: "run_00000000007", name: "pay" },
  { type: "run.finished", run: "run_00000000007", name: "pay", status: "failed", durationMs: 5.5, failure },
  { type: "application.deployed", application: "shop", version: "v", functions: ["pay"], coordinators: [] },
  { type: "pod.started", pod: "pod-1", function: "pay", pid: 7, startMs: 40 },
  { type: "pod.stopped", pod: "pod-1", function: "pay", reason: "idle" },
  { type: "pod.lost", pod: "pod-1", function: "pay", reason: "exit code 1", calls: 2 },
  { type: "platform.started", epoch: 2, recovered: 5, recoveryMs: 30 },
  { type: "platform.audited", checked: 5, repaired: 0 },
];

const follow = (running: Running, query = "", headers: Record<string, string> = {}): Promise<EventReader> =>
  EventReader.open(`${running.gateway.url}/v1/events${query}`, headers);

describe("following events", () => {
  test("gives what is kept and then what comes, each with position, type and JSON", async () => {
    const running = await open();
    running.plane.emit(...bodies.slice(0, 5));
    const reader = await follow(running);
    await reader.until(5);
    running.plane.emit(...bodies.slice(5));
    await reader.until(11);
    expect(reader.response.headers).toMatchObject({ "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store" });
    expect(reader.events).toEqual(running.plane.all.map((event) => ({ id: String(event.position), event: event.type, data: event })));
    reader.close();
  });

  test("resumes after the last event that the client has seen", async () => {
    const running = await open();
    running.plane.emit(...bodies);
    const byHeader = await follow(running, "?after=1", { "last-event-id": "8" });
    const byQuery = await follow(running, "?after=9");
    await byHeader.until(3);
    await byQuery.until(2);
    expect([byHeader.ids, byQuery.ids]).toEqual([
      [9, 10, 11],
      [10, 11],
    ]);
    byHeader.close();
    byQuery.close();
  });

  test("shows the wanted types alone", async () => {
    const running = await open();
    running.plane.emit(...bodies);
    const reader = await follow(running, "?types=pod.lost,run.accepted");
    await reader.until(2);
    running.plane.emit(...bodies);
    await reader.until(4);
    expect(reader.ids).toEqual([1, 9, 12, 20]);
    reader.close();
  });

  test("beats every fifteen seconds", async () => {
    const clock = new ManualClock();
    const running = await open({ clock });
    const reader = await follow(running, "?after=latest");
    await reader.untilText("connected");
    clock.advance(15_000);
    await reader.untilText("heartbeat");
    reader.close();
    await vi.waitUntil(() => running.plane.listeners.size === 0, { interval: 1 });
  });

  test("ends for a client that never reads, however much there is to tell", async () => {
    const clock = new ManualClock();
    const running = await open({ clock });
    const reader = await follow(running, "?after=latest");
    await reader.untilText("connected");
    reader.response.pause();
    const large: EventBody = {
      type: "application.deployed",
      application: "x".repeat(1 << 20),
      version: "v",
      functions: [],
      coordinators: [],
    };
    const heartbeatAlone = 1;
    for (let i = 0; i < 100 && clock.armed === heartbeatAlone; i++) {
      running.plane.emit(large);
      await new Promise(setImmediate);
    }
    expect(clock.armed).toBe(heartbeatAlone + 1);
    clock.advance(10_000);
    await vi.waitUntil(() => running.plane.listeners.size === 0, { interval: 1 });
    reader.response.resume();
    await reader.untilEnded();
    expect(running.plane.all.length).toBeGreaterThan(reader.events.length);
  });

  test("is refused beyond the limit of streams", async () => {
    const running = await open({ maxStreams: 1 });
    const reader = await follow(running);
    const answer = await running.call("/v1/events");
    expect([answer.status, answer.json.code, answer.headers["retry-after"]]).toEqual([429, "OVERLOADED", "1"]);
    reader.close();
  });

  test("is shown in the metrics", async () => {
    const running = await open();
    const reader = await follow(running);
    await reader.untilText("connected");
    expect((await running.call("/metrics")).text).toContain("\nlockstep_event_streams 1\n");
    reader.close();
  });

  test("works for a page of an allowed origin", async () => {
    const running = await open({ allowedOrigins: ["https://console.example"] });
    const reader = await follow(running, "", { origin: "https://console.example" });
    expect(reader.response.headers["access-control-allow-origin"]).toBe("https://console.example");
    reader.close();
  });
});

describe("a page of events", () => {
  test("holds what is kept, and where the next one begins", async () => {
    const { plane, call } = await open();
    plane.emit(...bodies);
    const first = await call("/v1/events?follow=false&limit=8");
    expect(first.json).toEqual({ events: plane.all.slice(0, 8), next: 8, more: true });
    const second = await call(`/v1/events?follow=false&limit=8&after=${first.json.next}`);
    expect(second.json).toEqual({ events: plane.all.slice(8), next: 11, more: false });
    const third = await call("/v1/events?follow=false&after=11");
    expect(third.json).toEqual({ events: [], next: 11, more: false });
  });

  test("moves on although the filter leaves nothing of it", async () => {
    const { plane, call } = await open();
    plane.emit(...bodies);
    const { json } = await call("/v1/events?follow=false&limit=4&types=platform.audited");
    expect(json).toEqual({ events: [], next: 4, more: true });
  });

  test("of the latest makes no sense", async () => {
    const { call } = await open();
    expect((await call("/v1/events?follow=false&after=latest")).json).toMatchObject({ code: "BAD_REQUEST", details: { field: "after" } });
  });
});
