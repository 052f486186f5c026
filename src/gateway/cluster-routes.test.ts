import { describe, expect, test, vi } from "vitest";
import type { Running } from "../../test/support/gateway.ts";
import { open } from "../../test/support/gateway.ts";
import { EventReader } from "../../test/support/sse.ts";
import type { ClusterPodView } from "../protocol/cluster.ts";

test("services are created, found, replaced and deleted", async () => {
  const { call, plane } = await open();
  expect((await call("/v1/cluster/services")).json.services).toMatchObject([{ spec: { name: "pay" }, default: true }]);
  const spec = { name: "money", function: "pay", replicas: 2, environment: { REGION: "north" } };
  const made = await call("/v1/cluster/services", { method: "POST", body: spec });
  expect([made.status, made.json]).toMatchObject([201, { spec, default: false, resourceVersion: 1 }]);
  expect((await call("/v1/cluster/services", { method: "POST", body: spec })).json.code).toBe("SERVICE_EXISTS");
  expect((await call("/v1/cluster/services/money")).json.spec).toEqual(spec);
  expect((await call("/v1/cluster/services/nobody")).json.code).toBe("UNKNOWN_SERVICE");
  const scale = { min: 1, max: 4, policy: "kpa", targetMs: 200, coolDownMs: 0 };
  const put = { method: "PUT", body: { function: "pay", scale } } as const;
  expect((await call("/v1/cluster/services/money?ifVersion=7", put)).status).toBe(412);
  expect((await call("/v1/cluster/services/money?ifVersion=1", put)).json.spec).toEqual({ name: "money", function: "pay", scale });
  expect((await call("/v1/cluster/services/money", { method: "DELETE" })).status).toBe(204);
  expect(plane.cluster.specs.size).toBe(0);
});

test.each([
  [{ function: "pay" }, "name"],
  [{ name: "money" }, "function"],
  [{ name: "money", function: "pay", replicas: 0 }, "replicas"],
  [{ name: "money", function: "pay", scale: { policy: "magic" } }, "scale.policy"],
  [{ name: "money", function: "pay", scale: { most: 3 } }, "scale.most"],
  [{ name: "money", function: "pay", environment: { REGION: 1 } }, "environment.REGION"],
  [{ name: "money", function: "pay", colour: "red" }, "colour"],
])("a spec like %j is refused, naming %s", async (body, field) => {
  const { call } = await open();
  const answer = await call("/v1/cluster/services", { method: "POST", body });
  expect([answer.status, answer.json.code, answer.json.details.field]).toEqual([400, "BAD_REQUEST", field]);
});

test("pods are listed, found, created and ended", async () => {
  const { call, plane } = await open();
  expect((await call("/v1/cluster/pods")).json.pods).toMatchObject([
    { id: "pod-1", service: "pay", ready: true, labels: { "lockstep/role": "pay" } },
  ]);
  expect((await call("/v1/cluster/pods/pod-1")).json.memoryMb).toBe(256);
  expect((await call("/v1/cluster/pods/pod-9")).json.code).toBe("UNKNOWN_POD");
  const made = await call("/v1/cluster/pods", { method: "POST", body: { service: "pay" } });
  expect([made.status, made.json]).toMatchObject([201, { id: "pod-2", state: "starting" }]);
  expect((await call("/v1/cluster/pods", { method: "POST", body: { service: "nobody" } })).status).toBe(404);
  const gone = await call("/v1/cluster/pods/pod-1?grace=2s", { method: "DELETE" });
  expect([gone.status, gone.json.state]).toEqual([202, "draining"]);
  await call("/v1/cluster/pods/pod-1", { method: "DELETE" });
  expect(plane.cluster.deleted).toEqual([
    ["pod-1", 2_000],
    ["pod-1", undefined],
  ]);
});

describe("watching", () => {
  const watch = (running: Running, what: string, query = "", headers: Record<string, string> = {}): Promise<EventReader> =>
    EventReader.open(`${running.gateway.url}/v1/cluster/${what}?watch=true${query}`, headers);
  const brief = (reader: EventReader): unknown[] =>
    reader.events.map(({ event, data }) => [event, (data as { pod?: { id: string } }).pod?.id]);

  test("gives the pods that there are and then what changes, each with its position", async () => {
    const running = await open();
    const { cluster } = running.plane;
    const reader = await watch(running, "pods");
    await reader.until(2);
    cluster.more.push({ ...(cluster.pods()[0] as ClusterPodView), id: "pod-2" });
    cluster.changed();
    await reader.until(3);
    cluster.more.length = 0;
    cluster.changed();
    await reader.until(4);
    expect(brief(reader)).toEqual([
      ["reset", undefined],
      ["added", "pod-1"],
      ["added", "pod-2"],
      ["deleted", "pod-2"],
    ]);
    for (const { id, data } of reader.events) expect(data).toMatchObject({ position: Number(id) });
    reader.close();
  });

  test("goes on behind the last change that the client has seen, which goes before what it asks for", async () => {
    const running = await open();
    const { cluster } = running.plane;
    const first = await watch(running, "pods");
    await first.until(2);
    const { id } = first.events[1] as { id: string };
    first.close();
    cluster.more.push({ ...(cluster.pods()[0] as ClusterPodView), id: "pod-2" });
    const byQuery = await watch(running, "pods", `&after=${id}`);
    const byHeader = await watch(running, "pods", "&after=0", { "last-event-id": id });
    for (const reader of [byQuery, byHeader]) {
      await reader.until(1);
      expect(brief(reader)).toEqual([["added", "pod-2"]]);
      reader.close();
    }
    const foreign = await watch(running, "pods", "&after=999999999999999");
    await foreign.until(3);
    expect(brief(foreign)[0]).toEqual(["reset", undefined]);
    foreign.close();
  });

  test("gives the services too, and costs nothing when nobody is left", async () => {
    const running = await open();
    const { cluster } = running.plane;
    const reader = await watch(running, "services");
    await reader.until(2);
    await cluster.putService({ name: "money", function: "pay", replicas: 2 });
    cluster.changed();
    await reader.until(3);
    expect(reader.events[2]?.data).toMatchObject({ type: "added", service: { spec: { name: "money", replicas: 2 } } });
    expect((await running.call("/metrics")).text).toContain("\nlockstep_event_streams 1\n");
    reader.close();
    await vi.waitUntil(() => cluster.watchers === 0, { interval: 1 });
  });

  test("refuses what makes no sense, and more streams than there may be", async () => {
    const running = await open({ maxStreams: 1 });
    expect((await running.call("/v1/cluster/pods?after=3")).json).toMatchObject({ code: "BAD_REQUEST", details: { field: "after" } });
    for (const query of ["watch=perhaps", "watch=true&after=latest", "watch=true&follow=1"]) {
      expect((await running.call(`/v1/cluster/services?${query}`)).status).toBe(400);
    }
    const reader = await watch(running, "services");
    expect((await running.call("/v1/cluster/services?watch=true")).json.code).toBe("OVERLOADED");
    reader.close();
  });
});
