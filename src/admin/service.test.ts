import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import type { EventBody } from "../protocol/events.ts";
import type { FaultView } from "../protocol/faults.ts";
import type { ToPod } from "../protocol/pod.ts";
import type { StateChange, StateEntry } from "../protocol/state.ts";
import type { Pod, Tenant } from "../scheduler/fleet.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { Admin } from "./service.ts";

const START = 1_000_000;
const CRASH: PodExit = { reason: "exited", memory: false, detail: "signal SIGKILL", output: "" };

/** Lives of a platform on the same rows. */
const setUp = () => {
  const clock = createStepClock(START);
  const rows = new Map<string, StateEntry>();
  const events: (EventBody & { at: number })[] = [];
  let version = 0;
  let pulse: number | undefined;
  let listener: ((pod: Pod, message: ToPod) => void) | undefined;
  const put = (changes: readonly StateChange[]): void => {
    for (const { key, value, version: at } of changes) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, { key, value, version: at });
    }
  };
  const live = async (epoch = 1): Promise<Admin> => {
    const admin = new Admin({
      turn: { event: (body) => void events.push({ at: clock.now(), ...body }), state: put },
      rows: {
        get: async (_, key) => rows.get(key),
        list: async (_, prefix, limit) =>
          [...rows.values()]
            .filter(({ key }) => key.startsWith(prefix))
            .sort((a, b) => (a.key < b.key ? -1 : 1))
            .slice(0, limit),
      },
      clock,
      epoch,
      nextVersion: () => ++version,
      pulse: {
        last: pulse,
        beat: (at) => {
          pulse = at;
        },
        close: () => undefined,
      },
      watchSends: (given) => {
        listener = given;
      },
    });
    await admin.load();
    return admin;
  };
  const send = (pod: Pod, message: Partial<ToPod>): void => listener?.(pod, message as ToPod);
  return { clock, rows, events, live, send, isListening: () => listener !== undefined };
};

const podOf = (id: string, role: string | undefined, held: string[] = []): Pod => {
  const tenant = role === undefined ? undefined : ({ role, held: () => held } as unknown as Tenant);
  return { id, tenant, startedAt: START, lastBeat: START, inFlight: held.length } as Pod;
};

const faults = (events: readonly EventBody[]) => events.filter(({ type }) => type.startsWith("fault."));

describe("a pod that crashed with calls in it", () => {
  test("is a fault I, repaired when the first of its calls is dispatched again", async () => {
    const { clock, events, live, send, isListening } = setUp();
    const admin = await live();
    clock.advance(100);
    admin.podStopped(podOf("pod-1", "pay", ["run_a/1", "run_b/2"]), { ...CRASH, noticedAt: clock.now() - 2 });
    expect(faults(events)).toMatchObject([{ kind: "I", what: "crash", pod: "pod-1", function: "pay", detectionMs: 2, calls: 2 }]);
    clock.advance(5);
    send(podOf("pod-9", "other"), { t: "invoke", run: "run_c", seq: 1 });
    expect(faults(events)).toHaveLength(1);
    clock.advance(7);
    send(podOf("pod-2", "pay"), { t: "invoke", run: "run_b", seq: 2 });
    expect(faults(events)[1]).toMatchObject({
      type: "fault.repaired",
      fault: "fault-1",
      repairMs: 12,
      did: expect.stringMatching(/pod-2: 2 calls/),
    });
    expect(isListening()).toBe(false);
    // Only the pulse.
    expect(clock.timers).toBe(1);
    send(podOf("pod-2", "pay"), { t: "invoke", run: "run_a", seq: 1 });
    expect(faults(events)).toHaveLength(2);
  });

  test("that are lost again before they were dispatched is followed by a fault that waits for them on its own", async () => {
    const { clock, events, live, send } = setUp();
    const admin = await live();
    admin.podStopped(podOf("pod-1", "coordinator", ["run_a"]), CRASH);
    clock.advance(10_000);
    admin.podStopped(podOf("pod-2", "coordinator", ["run_a"]), CRASH);
    clock.advance(25_000);
    expect(faults(events).at(-1)).toMatchObject({ type: "fault.repaired", fault: "fault-1", repairMs: 30_000 });
    send(podOf("pod-3", "coordinator"), { t: "begin", run: "run_a" });
    expect(faults(events).at(-1)).toMatchObject({ fault: "fault-2", repairMs: 25_000, did: "replayed in pod-3: 1 run" });
  });

  test("is closed after a while when none of its calls is wanted any more", async () => {
    const { clock, events, live, isListening } = setUp();
    const admin = await live();
    admin.podStopped(podOf("pod-1", "pay", ["run_a/1"]), CRASH);
    clock.advance(29_999);
    expect(faults(events)).toHaveLength(1);
    clock.advance(1);
    expect(faults(events)[1]).toMatchObject({
      type: "fault.repaired",
      repairMs: 30_000,
      did: expect.stringMatching(/none was dispatched again/),
    });
    expect(isListening()).toBe(false);
  });

  test("and whose successor crashes too is two faults, each with its own repair", async () => {
    const { clock, events, live, send } = setUp();
    const admin = await live();
    admin.podStopped(podOf("pod-1", "pay", ["run_a/1", "run_b/1"]), CRASH);
    send(podOf("pod-2", "pay"), { t: "invoke", run: "run_a", seq: 1 });
    admin.podStopped(podOf("pod-2", "pay", ["run_a/1"]), CRASH);
    clock.advance(10);
    send(podOf("pod-3", "pay"), { t: "invoke", run: "run_a", seq: 1 });
    expect(faults(events).map((event) => [event.type, "fault" in event && event.fault])).toEqual([
      ["fault.detected", "fault-1"],
      ["fault.repaired", "fault-1"],
      ["fault.detected", "fault-2"],
      ["fault.repaired", "fault-2"],
    ]);
  });
});

test("a coordinators' pod is repaired when one of its runs begins in another", async () => {
  const { events, live, send } = setUp();
  const admin = await live();
  admin.podStopped(podOf("pod-1", "coordinator", ["run_a"]), { ...CRASH, reason: "killed" });
  send(podOf("pod-2", "coordinator"), { t: "begin", run: "run_a" });
  expect(faults(events)[1]).toMatchObject({ what: "stuck", did: "replayed in pod-2: 1 run" });
});

test("a pod with nothing in it needs no repair, and one that nobody needs is no fault", async () => {
  const { events, live, isListening } = setUp();
  const admin = await live();
  admin.podStopped(podOf("pod-1", undefined), CRASH);
  admin.podStopped(podOf("pod-2", "pay"), { ...CRASH, reason: "deleted" });
  expect(faults(events)).toMatchObject([
    { function: "warm", calls: 0 },
    { type: "fault.repaired", repairMs: 0 },
  ]);
  expect(isListening()).toBe(false);
});

test("a loop of failing starts is one fault, until a process starts again", async () => {
  const { clock, events, live } = setUp();
  const admin = await live();
  for (let i = 0; i < 5; i++) {
    clock.advance(100);
    admin.podStopped(podOf(`pod-${i}`, "pay"), { ...CRASH, reason: "failed-to-start" });
  }
  expect(faults(events)).toHaveLength(1);
  clock.advance(100);
  admin.podStarted(podOf("pod-9", undefined));
  expect(faults(events)[1]).toMatchObject({ type: "fault.repaired", repairMs: 500, did: "pod-9 has started" });
  expect(admin.faults(10)).toMatchObject([{ repeated: 4 }]);
  admin.podStopped(podOf("pod-10", "pay"), { ...CRASH, reason: "failed-to-start" });
  expect(faults(events).map((event) => "fault" in event && event.fault)).toEqual(["fault-1", "fault-1", "fault-2"]);
});

describe("a start", () => {
  test("after a stop in order, and the first of all, find nothing", async () => {
    const { clock, events, live } = setUp();
    const first = await live(1);
    first.recovered(0);
    first.stop();
    clock.advance(60_000);
    (await live(2)).recovered(3);
    expect(faults(events)).toEqual([]);
  });

  test("after a crash tells of a fault IV, how long it was down and what was recovered", async () => {
    const { clock, events, live, rows } = setUp();
    await live(1);
    clock.advance(4_100);
    expect(JSON.parse(rows.get("life")?.value ?? "")).toMatchObject({ epoch: 1, at: START, clean: false });
    clock.pause(10_000);
    const admin = await live(2);
    const startedAt = clock.now();
    clock.pause(250);
    admin.recovered(12);
    expect(faults(events)).toMatchObject([
      { type: "fault.detected", kind: "IV", what: "control-plane-down", detectionMs: startedAt - START - 4_000, calls: 12 },
      { type: "fault.repaired", kind: "IV", repairMs: 250, did: "journal replayed, 12 runs recovered" },
    ]);
  });

  test("that is given up before its runs are back leaves the fault to the next one, which tells of it once", async () => {
    const { clock, events, live } = setUp();
    await live(1);
    clock.pause(10_000);
    (await live(2)).stop();
    expect(faults(events)).toEqual([]);
    const admin = await live(3);
    admin.recovered(12);
    admin.stop();
    (await live(4)).recovered(12);
    expect(faults(events).map(({ type }) => type)).toEqual(["fault.detected", "fault.repaired"]);
  });

  test("closes what the last life had left open, and goes on counting", async () => {
    const { live, events } = setUp();
    (await live(1)).podStopped(podOf("pod-1", "pay", ["run_a/1"]), CRASH);
    const admin = await live(2);
    admin.recovered(1);
    const list = admin.faults(10);
    expect(list.map(({ id, type }) => [id, type])).toEqual([
      ["fault-2", "IV"],
      ["fault-1", "I"],
    ]);
    expect(list[1]).toMatchObject({ did: "recovered with the control plane" });
    expect(faults(events)).toHaveLength(4);
  });
});

test("no more than the last 500 are kept, in memory and on disk", async () => {
  const { live, rows } = setUp();
  const admin = await live();
  for (let i = 1; i <= 503; i++) admin.podStopped(podOf(`pod-${i}`, undefined), CRASH);
  const kept = [...rows.keys()].filter((key) => key.startsWith("fault/"));
  expect([admin.faults(1_000).length, kept.length, (admin.faults(1)[0] as FaultView).id]).toEqual([500, 500, "fault-503"]);
});

test("the next life lists them in their order, and goes on behind the last", async () => {
  const { live } = setUp();
  const first = await live(1);
  for (let i = 1; i <= 12; i++) first.podStopped(podOf(`pod-${i}`, undefined), CRASH);
  first.stop();
  const admin = await live(2);
  admin.podStopped(podOf("pod-1", undefined), CRASH);
  expect(admin.faults(20).map(({ id }) => id)).toEqual(Array.from({ length: 13 }, (_, i) => `fault-${13 - i}`));
});

test("a stop leaves no timer and tells of no end that follows", async () => {
  const { clock, events, live, rows } = setUp();
  const admin = await live();
  admin.podStopped(podOf("pod-1", "pay", ["run_a/1"]), CRASH);
  admin.stop();
  admin.podStopped(podOf("pod-2", "pay"), CRASH);
  expect([clock.timers, faults(events).length, JSON.parse(rows.get("life")?.value ?? "").clean]).toEqual([0, 1, true]);
});
