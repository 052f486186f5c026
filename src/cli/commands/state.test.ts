import { expect, test } from "vitest";
import { world } from "../../../test/support/fake-io.ts";
import { open } from "../../../test/support/gateway.ts";
import { runIdOf } from "../../lib/ids.ts";

const connected = async () => {
  const { gateway, plane } = await open();
  return { plane, ...world({ fetch, stdin: '{"from":"stdin"}', env: { LOCKSTEP_URL: gateway.url } }) };
};

test("state set, get, ls and rm change and show keys", async () => {
  const { lockstep, out, error } = await connected();
  expect(await lockstep("state", "set", "shop", "orders/1", '{"paid":true}', "--if-version", "0")).toBe(0);
  expect(await lockstep("state", "set", "shop", "orders/2", "-", "--ttl", "1h")).toBe(0);
  expect(out.text).toBe("orders/1 has version 1\norders/2 has version 2\n");
  out.text = "";
  expect(await lockstep("state", "get", "shop", "orders/2")).toBe(0);
  expect(await lockstep("state", "get", "shop", "orders/1", "--json")).toBe(0);
  expect(out.text).toBe('{"from":"stdin"}\n{"key":"orders/1","value":{"paid":true},"version":1}\n');
  out.text = "";
  expect(await lockstep("state", "ls", "shop", "orders/", "--limit", "1")).toBe(0);
  expect(out.text).toMatch(/KEY +VERSION +VALUE\s+orders\/1 +1 +\{"paid":true\}\s*$/);
  expect(await lockstep("state", "set", "shop", "orders/1", "1", "--if-version", "7")).toBe(1);
  expect(error.text).toContain("STATE_CONFLICT");
  expect(await lockstep("state", "rm", "shop", "orders/1")).toBe(0);
  expect(await lockstep("state", "get", "shop", "orders/1")).toBe(1);
  expect(error.text).toContain("orders/1 has no value");
  expect(await lockstep("state", "ls", "shoop")).toBe(0);
  expect(error.text + out.text).toContain("shoop has no state\n");
});

test("state stale and refresh show what failed writers have left, and clear it", async () => {
  const { lockstep, out, error, plane } = await connected();
  await plane.state.write("shop", { key: "orders/1", value: "1" });
  const stale = { run: runIdOf(7), call: 2, function: "pay", fault: "execution", message: "no", at: 5 } as const;
  plane.state.entries.set("shop orders/1", { application: "shop", key: "orders/1", value: "1", version: 1, stale });
  expect(await lockstep("state", "stale", "shop")).toBe(0);
  expect(out.text).toContain(`pay (${stale.run}/2) execution: no`);
  expect(await lockstep("state", "get", "shop", "orders/1")).toBe(0);
  expect(error.text).toContain("stale: pay");
  out.text = "";
  expect(await lockstep("state", "refresh", "shop", "orders/1")).toBe(0);
  expect(out.text).toBe("orders/1 is fresh\n");
  expect(await lockstep("state", "stale", "shop", "--json")).toBe(0);
  expect(out.text).toMatch(/\{"entries":\[\]\}\n$/);
});

test("state refuses what is no number, no duration or no JSON", async () => {
  const { lockstep, plane } = await connected();
  for (const options of [
    ["--if-version", "x"],
    ["--ttl", "soon"],
    ["--ttl", "0"],
  ]) {
    expect(await lockstep("state", "set", "shop", "orders/1", "1", ...options)).toBe(2);
  }
  expect(await lockstep("state", "set", "shop", "orders/1", "{")).toBe(2);
  expect(await lockstep("state", "ls", "shop", "--limit", "0")).toBe(2);
  expect(plane.state.entries.size).toBe(0);
});
