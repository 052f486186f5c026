import { coordinator } from "lockstep";
import { expect, test } from "vitest";
import type { FromPod } from "../protocol/pod.ts";
import { owner } from "./capture.ts";
import { CoordinatorHost } from "./coordinator-host.ts";

const RUN = "run_00000000001";

test("an exception outside of its promises ends the coordinator that it belongs to, also in a replay, and once", () => {
  let self: { crash(error: unknown): void } | undefined;
  const fragile = coordinator("fragile", async (ctx) => {
    self = owner.getStore() as never;
    await ctx.sleep(1);
  });
  const sent: FromPod[] = [];
  const host = new CoordinatorHost(
    new Map([["fragile", fragile as never]]),
    { maxPayloadBytes: 1_000, maxLogBytes: 1_000 },
    { send: (message) => sent.push(message), schedule: () => undefined, executing: () => undefined },
  );
  for (const history of [[], [{ t: "sleep", seq: 1, at: 1, ms: 1, dueAt: 2 } as const]]) {
    host.nextBatch();
    host.begin({ t: "begin", run: RUN, name: "fragile", input: "", acceptedAt: 0, history });
    self?.crash(new RangeError("late"));
    self?.crash(new RangeError("later"));
    host.flush();
    const failure = { code: "COORDINATOR_FAILED", name: "RangeError", message: "late" };
    expect(sent.splice(0)).toMatchObject([{ t: "commands", run: RUN, commands: [{ t: "finish", failure }] }]);
  }
});
