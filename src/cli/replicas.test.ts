import { describe, expect, test } from "vitest";
import { world } from "../../test/support/fake-io.ts";
import { open } from "../../test/support/gateway.ts";

const connected = async () => {
  const running = await open();
  return { ...running, ...world({ fetch, env: { LOCKSTEP_URL: running.gateway.url } }) };
};

describe("replicas", () => {
  test("shows who sits in which seat, who leads, and how many work", async () => {
    const { lockstep, out } = await connected();
    expect(await lockstep("replicas")).toBe(0);
    expect(out.text).toMatch(/^shop\/quote@0123456789abcdef {2}serving, 3 of 4 work, epoch 2, view 5, 4 calls under way\n/);
    expect(out.text).toMatch(/ 1 +pod-6 +serving +leads +kkkkkkkk\n/);
    expect(out.text).toMatch(/ 3 +pod-8 +starting/);
  });

  test("says how many a set waits for", async () => {
    const { plane, lockstep, out } = await connected();
    const [set] = plane.replicaSets();
    plane.replicaSets = () => [{ ...set!, state: "waiting", serving: 2, underWay: 1 }];
    await lockstep("replicas");
    expect(out.text).toMatch(/waiting, 2 of 4 work, calls wait for 3, epoch 2, view 5, 1 call under way\n/);
  });

  test("says what makes a set when there is none", async () => {
    const { plane, lockstep, error } = await connected();
    plane.replicaSets = () => [];
    expect(await lockstep("replicas")).toBe(0);
    expect(error.text).toContain("no replica set is at work");
  });
});
