import { expect, test } from "vitest";
import { open } from "../../test/support/gateway.ts";

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
