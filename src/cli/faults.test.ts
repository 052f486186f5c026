import { describe, expect, test } from "vitest";
import type { FakeControlPlane } from "../../test/support/fake-control-plane.ts";
import { folderOf, type World, world } from "../../test/support/fake-io.ts";
import { open, type Running } from "../../test/support/gateway.ts";
import { type Clock, systemClock } from "../lib/clock.ts";
import type { PlatformOptions } from "../platform.ts";
import type { Drill, FaultView } from "../protocol/faults.ts";
import { runCli } from "./program.ts";

/** Between two looks of a drill for its fault. */
const LOOK_MS = 50;
const AT = Date.UTC(2026, 0, 31, 12, 3, 4);

const CRASH: FaultView = {
  id: "fault-1",
  type: "I",
  what: "crash",
  pod: "pod-3",
  function: "pay",
  detectedAt: AT,
  detectionMs: 1,
  calls: 2,
  detail: "signal SIGKILL",
};
const REPAIRED: FaultView = { ...CRASH, repairedAt: AT + 8, repairMs: 8, did: "dispatched again to pod-5: 2 calls" };

const connected = async (faults: FaultView[] = []): Promise<World & Running> => {
  const running = await open();
  running.plane.allFaults.push(...faults);
  return { ...running, ...world({ fetch, env: { LOCKSTEP_URL: running.gateway.url } }) };
};

const detected = ({ id, type, what, pod, function: fn, detectionMs, calls, detail }: FaultView) =>
  ({ type: "fault.detected", fault: id, kind: type, what, pod: pod ?? "", function: fn ?? "", detectionMs, calls, detail }) as const;

describe("faults", () => {
  test("--follow shows those that were, then each as it comes, until it is interrupted", async () => {
    const { plane, lockstep, out, interrupt } = await connected([REPAIRED]);
    const ends = lockstep("faults", "--follow");
    await out.shows("dispatched again to pod-5");
    plane.emit({ type: "platform.started", epoch: 2, recovered: 0, recoveryMs: 1 }, detected({ ...CRASH, id: "fault-2", pod: "pod-7" }));
    await out.shows("pod-7");
    expect(out.text).toMatch(
      /^AT {2,}TYPE .*\n2026-01-31 .* I {5}crash +pod-3 .*\n.* fault I crash pod-7 \(pay\) noticed in 1 ms, 2 lost.*\n$/,
    );
    interrupt();
    expect(await ends).toBe(130);
  });

  test("--follow loses none that comes while it lists, and shows none twice", async () => {
    const { plane, lockstep, out, interrupt } = await connected([CRASH]);
    const faults = plane.faults.bind(plane);
    plane.faults = (limit) => {
      const listed = faults(limit);
      plane.emit(detected(CRASH), detected({ ...CRASH, id: "fault-2", pod: "pod-7" }));
      return listed;
    };
    const ends = lockstep("faults", "--follow");
    await out.shows("pod-7");
    expect(out.text.match(/pod-3/g)).toHaveLength(1);
    interrupt();
    expect(await ends).toBe(130);
  });

  test("--follow --json prints an event a line", async () => {
    const { plane, lockstep, out, interrupt } = await connected([REPAIRED]);
    const ends = lockstep("faults", "--follow", "--json");
    await expect.poll(() => plane.listeners.size).toBe(1);
    plane.emit(detected({ ...CRASH, id: "fault-2" }));
    await out.shows("\n");
    expect(JSON.parse(out.text)).toMatchObject({ type: "fault.detected", fault: "fault-2" });
    interrupt();
    expect(await ends).toBe(130);
  });
});

/** A platform on which a drill is followed by these faults. */
const drilling = async (drill: Partial<Drill>, ...faults: FaultView[]): Promise<World & Running & { plane: FakeControlPlane }> => {
  const running = await open();
  const { plane } = running;
  const provoke = plane.drill.bind(plane);
  plane.drill = (request) => {
    plane.allFaults.push(...faults);
    return { ...provoke(request), pod: "pod-3", at: AT - 5, ...drill };
  };
  // The pauses between two looks take no time; what only must not take too long has its time.
  let now = AT;
  const waited = (ms: number, run: () => void) => (): void => {
    now += ms;
    run();
  };
  const clock: Clock = {
    ...systemClock,
    now: () => now,
    after: (ms, run, kind) => (ms === LOOK_MS ? systemClock.after(0, waited(ms, run), kind) : systemClock.after(ms, run, kind)),
  };
  return { ...running, ...world({ fetch, env: { LOCKSTEP_URL: running.gateway.url }, clock }) };
};

describe("drill", () => {
  test.each([
    [["pod"], "--yes"],
    [["slow", "--yes", "--timeout", "soon"], "--timeout"],
    [["everything", "--yes"], "everything"],
    [["control-plane", "--yes", "--function", "pay"], "--function"],
  ])("%s is refused, and nothing is broken", async (argv, part) => {
    const { plane, lockstep, error } = await drilling({});
    expect(await lockstep("drill", ...argv)).toBe(2);
    expect(error.text).toContain(part);
    expect(plane.asked).toEqual([]);
  });

  test("pod tells what was killed, and the times from then on", async () => {
    const { plane, lockstep, out, error } = await drilling({}, REPAIRED);
    expect(await lockstep("drill", "pod", "--yes", "--function", "pay")).toBe(0);
    expect(plane.asked[0]).toEqual(["drill", { kind: "pod", function: "pay" }]);
    expect(error.text).toBe("killed pod-3 (pay), process 41, with 2 calls under way\n");
    expect(out.text).toBe(
      "fault I crash pod-3 (pay)\n  noticed after   5 ms\n  repaired after  13 ms\n  done            dispatched again to pod-5: 2 calls\n",
    );
  });

  test("hang whose repair does not come in time ends with 4, and tells so", async () => {
    const { lockstep, out } = await drilling({}, { ...CRASH, what: "hang" });
    expect(await lockstep("drill", "hang", "--yes", "--timeout", "2s")).toBe(4);
    expect(out.text).toContain("repaired after  not in time");
  });

  test("pod that nobody notices ends with 4: older faults, and those of other pods, are not its own", async () => {
    const { lockstep, out, error } = await drilling({}, { ...REPAIRED, detectedAt: AT - 6 }, { ...REPAIRED, pod: "pod-4" });
    expect(await lockstep("drill", "pod", "--yes", "--timeout", "2s")).toBe(4);
    expect([out.text, error.text.split("\n")[1]]).toEqual(["", "nothing was noticed in time"]);
  });

  test("slow that nothing follows is as it should be", async () => {
    const { lockstep, out } = await drilling({ lastsMs: 3_000 });
    expect(await lockstep("drill", "slow", "--yes")).toBe(0);
    expect(out.text).toBe("pod-3 was slow for 3 s and not taken for dead\n");
  });

  test("slow that was taken for dead fails", async () => {
    const { lockstep, out, error } = await drilling({ lastsMs: 3_000 }, { ...REPAIRED, what: "hang" });
    expect(await lockstep("drill", "slow", "--yes")).toBe(1);
    expect([out.text.split("\n")[0], error.text]).toEqual(["fault I hang pod-3 (pay)", expect.stringContaining("taken for dead")]);
  });

  test.each([
    [0, true],
    [2, false],
  ])("replica-lie with %i calls under way says whether it waits for a call: %s", async (calls, waits) => {
    const { lockstep, error } = await drilling({ calls }, REPAIRED);
    expect(await lockstep("drill", "replica-lie", "--yes")).toBe(0);
    expect(error.text.includes("nobody can tell before the next call of pay")).toBe(waits);
  });

  test.each([
    [true, "it begins anew by itself"],
    [undefined, "start it again as it was started"],
  ])("control-plane tells whether it begins anew by itself (%s), and waits for fault IV", async (restarts, said) => {
    const fault: FaultView = { ...REPAIRED, type: "IV", what: "control-plane-down", did: "journal replayed, 3 runs recovered" };
    const { pod: _, function: __, ...iv } = fault;
    const { lockstep, out, error } = await drilling({ pod: undefined, restarts } as Partial<Drill>, CRASH, iv);
    expect(await lockstep("drill", "control-plane", "--yes")).toBe(0);
    expect(error.text).toContain(`killed the control plane, process 41, with 2 calls under way\n${said}`);
    expect(out.text).toMatch(/^fault IV control-plane-down\n {2}noticed after {3}5 ms\n {2}repaired after {2}13 ms\n/);
  });

  test("control-plane waits no longer than --timeout for a platform that stays away", async () => {
    const { io, error } = await drilling({});
    const refused = async (...request: Parameters<typeof fetch>): Promise<Response> => {
      if (String(request[0]).includes("/v1/faults")) throw new TypeError("fetch failed");
      return fetch(...request);
    };
    const lockstep = (...argv: string[]) => runCli(argv, { ...io, fetch: refused });
    expect(await lockstep("drill", "control-plane", "--yes", "--timeout", "10s")).toBe(4);
    expect(error.text).toContain("nothing was noticed in time");
  });

  test("--json prints the drill, its times and the fault", async () => {
    const { lockstep, out } = await drilling({}, REPAIRED);
    expect(await lockstep("drill", "pod", "--yes", "--json")).toBe(0);
    expect(JSON.parse(out.text)).toMatchObject({ drill: { kind: "pod", pod: "pod-3" }, noticedMs: 5, repairedMs: 13, fault: REPAIRED });
  });
});

describe("the drill that kills the control plane", () => {
  const app = `import { fn } from "lockstep";\nexport const add = fn("add", ([a, b]: number[]) => (a ?? 0) + (b ?? 0));\n`;

  test("lets dev begin anew as it was begun when it comes before dev is up", async () => {
    const restarts: (readonly string[])[] = [];
    const startPlatform = async ({ drills }: PlatformOptions): Promise<never> => {
      if (typeof drills === "object") drills.restart();
      throw new Error("begun anew");
    };
    const restart = (more: readonly string[]) => void restarts.push(more);
    await world({ startPlatform, restart, cwd: folderOf({ "index.ts": app }) }).lockstep("dev", ".");
    expect(restarts).toEqual([[]]);
  });

  /** What a command gives its platform as `drills`. */
  const drillsOf = async (argv: string[], restart?: (more: readonly string[]) => void): Promise<PlatformOptions["drills"]> => {
    const { plane } = await open();
    const started: PlatformOptions[] = [];
    const startPlatform = async (options: PlatformOptions) => {
      started.push(options);
      const audit = () => ({ checked: 0, repaired: 0 });
      return { controlPlane: plane, url: "http://127.0.0.1:4799", dataDirectory: "", audit, stop: async () => undefined };
    };
    const there = world({ startPlatform, restart, cwd: folderOf({ "index.ts": app }) });
    const ends = there.lockstep(...argv);
    await (argv[0] === "dev" ? there.error : there.out).shows("http://127.0.0.1:4799");
    const { drills } = started[0] as PlatformOptions;
    if (typeof drills === "object") drills.restart();
    there.interrupt();
    expect(await ends).toBe(0);
    return drills;
  };

  test("lets dev begin anew on the port that it has", async () => {
    const restarts: (readonly string[])[] = [];
    expect(await drillsOf(["dev", ".", "--port", "0"], (more) => void restarts.push(more))).toBeTypeOf("object");
    expect(restarts).toEqual([["--port", "4799"]]);
  });

  test("only kills it where a process can't begin anew, and where whoever supervises it is to be tried out", async () => {
    expect(await drillsOf(["dev", "."])).toBe(true);
    expect(await drillsOf(["start", "--drills"], () => undefined)).toBe(true);
    expect(await drillsOf(["start"], () => undefined)).toBe(false);
  });
});
