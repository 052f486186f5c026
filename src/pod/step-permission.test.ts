import { coordinator } from "lockstep";
import { expect, test } from "vitest";
import type { CoordinatorDefinition } from "../application/definitions.ts";
import type { FromPod } from "../protocol/pod.ts";
import type { JournalRecord } from "../protocol/run.ts";
import { CoordinatorHost } from "./coordinator-host.ts";

const RUN = "run_00000000001";
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const start = async (history: JournalRecord[]) => {
  const executed: string[] = [];
  const stepper = coordinator("stepper", (ctx) => ctx.step("charge", () => executed.push("charge")));
  const sent: FromPod[] = [];
  const host = new CoordinatorHost(
    new Map([["stepper", stepper as CoordinatorDefinition]]),
    { maxPayloadBytes: 1_000, maxLogBytes: 1_000 },
    { send: (message) => sent.push(message), schedule: () => undefined, executing: () => undefined },
  );
  host.begin({ t: "begin", run: RUN, name: "stepper", input: "", acceptedAt: 0, history });
  const commands = async () => {
    await settle();
    await settle();
    host.flush();
    return sent.splice(0).flatMap((message) => (message.t === "commands" ? message.commands : []));
  };
  return { host, executed, commands };
};

test("a step asks for permission, and executes only when it has it", async () => {
  const { host, executed, commands } = await start([]);
  expect(await commands()).toEqual([{ t: "stepping", seq: 1 }]);
  expect(executed).toEqual([]);
  host.permit(RUN, 1);
  expect(await commands()).toEqual([{ t: "step", seq: 1, name: "charge", value: "1" }]);
  expect(executed).toEqual(["charge"]);
});

test("a step whose outcome is in the journal asks for nothing", async () => {
  const { executed, commands } = await start([
    { t: "step", seq: 1, at: 1, name: "charge" },
    { t: "done", seq: 1, at: 1, value: "7" },
  ]);
  expect(await commands()).toEqual([{ t: "finish", value: "7" }]);
  expect(executed).toEqual([]);
});

test("a cancelled run's step that has no permission yet is not executed", async () => {
  const { host, executed, commands } = await start([]);
  await commands();
  host.nextBatch();
  host.deliver(RUN, { t: "cancel", at: 2, reason: "no longer wanted" });
  expect(await commands()).toMatchObject([{ t: "finish", cancelled: true }]);
  host.permit(RUN, 1);
  await settle();
  expect(executed).toEqual([]);
});
