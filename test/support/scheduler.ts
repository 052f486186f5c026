import type { FunctionSpec } from "../../src/protocol/application.ts";
import type { FromPod } from "../../src/protocol/pod.ts";
import type { Entry } from "../../src/queue/machine.ts";
import { Fleet } from "../../src/scheduler/fleet.ts";
import { type Outcome, type Placement, Scheduler, type SchedulerOptions } from "../../src/scheduler/service.ts";
import { createStepClock } from "../../src/testing/step-clock.ts";
import { FakeCluster } from "./fake-cluster.ts";

const OPTIONS: SchedulerOptions = { slotsPerPod: 2, maxPodsPerFunction: 3, defaultMemoryMb: 256, patienceMs: 100 };

/** A scheduler over a cluster of fake pods, on a step clock. */
export const setUpScheduler = async (
  options: Partial<SchedulerOptions> = {},
  {
    specs = {} as Record<string, Partial<FunctionSpec>>,
    maxPods = 20,
    triesAgain = false,
    placement = undefined as Placement | undefined,
  } = {},
) => {
  const clock = createStepClock(1_000_000);
  const cluster = new FakeCluster(clock);
  const fleetOptions = { warmPods: 0, defaultMemoryMb: 256, maxPods, hangMs: 3_600_000, idleMs: 3_600_000, memoryHeadroomMb: 100 };
  const fleet = new Fleet(cluster, clock, fleetOptions, { started: () => {}, stopped: () => {} });
  const settled: { seq: number; outcome: Outcome }[] = [];
  const homes = (fn: string) =>
    fn === "unknown" ? undefined : { application: "shop", path: `/bundles/${fn}`, spec: { name: fn, ...specs[fn] } };
  const settle = (entry: Entry, outcome: Outcome): void => {
    settled.push({ seq: entry.seq, outcome });
    if (triesAgain && settled.length < 20) scheduler.enqueue({ ...entry, state: "waiting", lease: 0, pod: "" });
  };
  const scheduler: Scheduler = new Scheduler(fleet, clock, { ...OPTIONS, ...options }, homes, settle, undefined, placement);
  await fleet.start();
  scheduler.start();
  let seqs = 0;

  const call = (given: Partial<Entry> = {}): Entry => {
    const entry: Entry = {
      run: "run_00000000001",
      seq: ++seqs,
      attempt: 1,
      fn: "pay",
      version: "v1",
      input: "1",
      priority: 0,
      timeoutMs: 60_000,
      solo: false,
      notBefore: 0,
      state: "waiting",
      waitingSince: 0,
      lease: 0,
      pod: "",
      leasedAt: 0,
      ...given,
    };
    scheduler.enqueue(entry);
    return entry;
  };
  const answer = (entry: Entry, result: Partial<FromPod & { t: "result" }> = {}): void => {
    const base = { t: "result" as const, lease: entry.lease, value: "7", failure: "", durationMs: 3, cpuMs: 1, memoryMb: 60, lines: [] };
    cluster.say(entry.pod, { ...base, ...result });
  };
  const loaded = (pod: string): void =>
    cluster.say(pod, { t: "loaded", version: "v1", manifest: { functions: [], coordinators: [] }, ms: 1 });
  const refuse = (pod: string): void =>
    cluster.say(pod, { t: "refused", version: "v1", failure: JSON.stringify({ code: "APPLICATION_INVALID", message: "syntax" }) });
  const executing = (pod: string): number[] => cluster.to(pod, "invoke").map(({ seq }) => seq);
  const failures = (): [number, string | undefined][] => settled.map(({ seq, outcome }) => [seq, outcome.failure?.code]);
  return { clock, cluster, fleet, scheduler, settled, call, answer, loaded, refuse, executing, failures };
};
