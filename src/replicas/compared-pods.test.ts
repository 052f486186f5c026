import { describe, expect, test } from "vitest";
import type { PodExit } from "../cluster/port.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import { newPod, type Pod, type Tenant } from "../scheduler/pod.ts";
import { createStepClock } from "../testing/step-clock.ts";
import { ComparedPods } from "./compared-pods.ts";

type Result = FromPod & { t: "result" };

const IDLE_MS = 60_000;
const CRASH: PodExit = { reason: "exited", memory: false, detail: "exit code 1", output: "" };
const DELETED: PodExit = { reason: "deleted", memory: false, detail: "", output: "" };

/** Compared pods whose processes are made up, with a layer that counts slots as the scheduler does. */
class World {
  readonly clock = createStepClock(1_000);
  readonly sent: { pod: string; message: ToPod }[] = [];
  readonly answers: Result[] = [];
  readonly passedOn: FromPod["t"][] = [];
  readonly lies: { pod: string; function: string; calls: number; detail: string }[] = [];
  readonly repairs: string[] = [];
  readonly exits: PodExit[] = [];
  readonly ended: string[] = [];
  readonly members = new Map<string, Pod>();
  room = Number.POSITIVE_INFINITY;
  connects = true;
  /** What the layer does with an answer, besides counting it. */
  afterwards: (answer: Result) => void = () => undefined;
  readonly pods: ComparedPods;
  readonly #leases = new Set<number>();
  #serial = 0;

  constructor() {
    const tenant = {
      role: "sum",
      application: "app",
      version: "1",
      path: "/1.cjs",
      memoryMb: 64,
      connected: () => undefined,
      beat: () => undefined,
      gone: () => undefined,
      message: (_pod: Pod, message: FromPod) => this.#told(message),
    } satisfies Tenant;
    this.pods = new ComparedPods("compared-1", tenant, IDLE_MS, {
      clock: this.clock,
      fleet: {
        acquire: (member) => this.#acquire(member),
        send: (pod, message) => void this.sent.push({ pod: pod.id, message }),
        end: (pod) => {
          this.ended.push(pod.id);
          this.die(pod.id, DELETED);
        },
        idle: () => undefined,
        loaded: () => undefined,
      },
      lied: (lie) => {
        this.lies.push(lie);
        return (did) => void this.repairs.push(did);
      },
      ended: (_pods, exit) => void this.exits.push(exit),
    });
    this.pods.start();
  }

  get pod(): Pod {
    return this.pods.pod;
  }

  invoke(lease: number): void {
    this.#leases.add(lease);
    this.pod.inFlight++;
    this.pods.invoke({ t: "invoke", lease, fn: "sum", input: "1", run: "run_1", seq: lease, attempt: 1, timeoutMs: 1_000 });
  }

  giveUp(lease: number): void {
    this.#leases.delete(lease);
    this.pod.zombies++;
    this.pod.inFlight--;
    this.pods.abort({ t: "abort", lease, reason: "too late" });
  }

  say(pod: string, message: FromPod): void {
    const member = this.members.get(pod);
    member?.tenant?.message(member, message);
  }

  answer(pod: string, lease: number, value: string, of: Partial<Result> = {}): void {
    this.say(pod, { t: "result", lease, value, failure: "", durationMs: 1, cpuMs: 1, memoryMb: 1, lines: [], ...of });
  }

  connect(pod: string): void {
    const member = this.members.get(pod) as Pod;
    member.state = "ready";
    member.tenant?.connected(member);
  }

  die(pod: string, exit = CRASH): void {
    const member = this.members.get(pod);
    this.members.delete(pod);
    member?.tenant?.gone(member, exit);
  }

  /** Who was told what since the last look. */
  took(): string[] {
    return this.sent.splice(0).map(({ pod, message }) => `${pod} ${message.t}${"lease" in message ? ` ${message.lease}` : ""}`);
  }

  #acquire(tenant: Tenant): Pod | undefined {
    if (this.members.size >= this.room) return undefined;
    const pod = newPod(`pod-${++this.#serial}`, 64, this.clock.now());
    pod.tenant = tenant;
    this.members.set(pod.id, pod);
    if (this.connects) this.connect(pod.id);
    return pod;
  }

  #told(message: FromPod): void {
    this.passedOn.push(message.t);
    if (message.t !== "result") return;
    if (!this.#leases.delete(message.lease)) {
      this.pod.zombies--;
      return;
    }
    this.pod.inFlight--;
    this.answers.push(message);
    if (this.pod.inFlight === 0) this.pods.idle();
    this.afterwards(message);
  }
}

describe("compared pods", () => {
  test("take calls once there are two of them", () => {
    const world = new World();
    expect(world.pod.state).toBe("ready");
    world.invoke(1);
    expect(world.took()).toEqual(["pod-1 invoke 1", "pod-2 invoke 1"]);
  });

  test("wait while there is room for one only, and ask again", () => {
    const world = new World();
    world.room = 1;
    world.die("pod-2");
    // Nothing was under way: they ask for no room that others needed.
    expect(world.exits).toMatchObject([{ reason: "deleted" }]);
    const waiting = new World();
    waiting.room = 1;
    waiting.invoke(1);
    waiting.die("pod-2");
    expect(waiting.pod.state).toBe("starting");
    waiting.room = 2;
    waiting.took();
    waiting.clock.advance(100);
    expect(waiting.pod.state).toBe("ready");
    expect(waiting.took()).toEqual(["pod-3 invoke 1"]);
  });

  test("answer once, with the time until they agreed, the work of both, and the lines of the first", () => {
    const world = new World();
    world.invoke(1);
    const lines = [{ at: 1, level: "info" as const, text: "hi" }];
    world.clock.advance(5);
    world.answer("pod-2", 1, '{"a":1,"b":2}', { cpuMs: 3, memoryMb: 20, lines, durationMs: 1_000_000 });
    expect(world.answers).toEqual([]);
    world.clock.advance(7);
    world.answer("pod-1", 1, '{"b":2,"a":1}', { cpuMs: 4, memoryMb: 10 });
    expect(world.answers).toMatchObject([{ lease: 1, value: '{"a":1,"b":2}', failure: "", durationMs: 12, cpuMs: 7, memoryMb: 20, lines }]);
    expect([...world.members.values()].map(({ inFlight }) => inFlight)).toEqual([0, 0]);
  });

  test("take the next call in the turn in which they answer", () => {
    const world = new World();
    world.afterwards = ({ lease }) => lease < 3 && world.invoke(lease + 1);
    world.invoke(1);
    for (const lease of [1, 2, 3]) for (const pod of ["pod-1", "pod-2"]) world.answer(pod, lease, "1");
    expect(world.answers.map(({ lease }) => lease)).toEqual([1, 2, 3]);
  });

  test("end a liar with what it was executing, and say what was done once another has its place", () => {
    const world = new World();
    world.invoke(1);
    world.invoke(2);
    world.connects = false;
    world.answer("pod-1", 1, '{"total":4}');
    world.answer("pod-2", 1, '{"total":3}');
    world.connect("pod-3");
    world.took();
    world.answer("pod-3", 1, '{"total":3}');
    expect(world.answers).toMatchObject([{ value: '{"total":3}' }]);
    const detail = "its outcome of call run_1/1 is not that of pod-2 and pod-3; it differs at value.total";
    expect(world.lies).toEqual([{ pod: "pod-1", function: "sum", calls: 1, detail }]);
    expect(world.ended).toEqual(["pod-1"]);
    expect(world.repairs).toEqual(["its calls are compared by pod-2 and pod-3"]);
    expect(world.took()).toEqual(["pod-3 invoke 2"]);
  });

  test("tell a liar that has died since, too", () => {
    const world = new World();
    world.invoke(1);
    world.answer("pod-1", 1, "4");
    world.die("pod-1");
    world.answer("pod-2", 1, "3");
    world.answer("pod-3", 1, "3");
    expect(world.lies).toMatchObject([{ pod: "pod-1", calls: 0 }]);
    expect(world.answers).toMatchObject([{ value: "3" }]);
  });
});

describe("a call that is given up", () => {
  test("is taken from both pods, and holds its slot until both have ended it", () => {
    const world = new World();
    world.invoke(1);
    world.took();
    world.giveUp(1);
    expect(world.took()).toEqual(["pod-1 abort 1", "pod-2 abort 1"]);
    world.answer("pod-1", 1, "1");
    expect(world.pod.zombies).toBe(1);
    world.die("pod-2");
    expect(world.pod.zombies).toBe(0);
    expect(world.answers).toEqual([]);
  });

  test("holds none when nobody executes it any more", () => {
    const world = new World();
    world.room = 2;
    world.invoke(1);
    world.answer("pod-1", 1, "1");
    world.answer("pod-2", 1, "2");
    world.giveUp(1);
    expect(world.pod.zombies).toBe(0);
  });

  test("in the turn in which another one would execute it is executed by none", () => {
    const world = new World();
    world.invoke(1);
    world.invoke(2);
    world.afterwards = () => world.giveUp(2);
    world.answer("pod-1", 1, "4");
    world.answer("pod-2", 1, "3");
    world.took();
    world.answer("pod-3", 1, "3");
    expect(world.took()).toEqual(["pod-2 abort 2"]);
    world.answer("pod-2", 2, "3");
    expect(world.pod.zombies).toBe(0);
  });

  test("has its pod ended when that stands still in it", () => {
    const world = new World();
    world.invoke(1);
    const pod = world.members.get("pod-1") as Pod;
    const beat = { t: "beat" as const, blockedMs: 2_000, run: "" as never, rssMb: 1 };
    pod.tenant?.beat(pod, beat);
    expect(world.ended).toEqual([]);
    world.giveUp(1);
    pod.tenant?.beat(pod, beat);
    expect(world.ended).toEqual(["pod-1"]);
  });
});

describe("pods that die", () => {
  test("have their executions made again by others, in the same attempt", () => {
    const world = new World();
    world.invoke(1);
    world.took();
    expect((world.members.get("pod-1") as Pod).tenant?.held?.(world.members.get("pod-1") as Pod)).toEqual(["run_1/1"]);
    world.die("pod-1");
    expect(world.took()).toEqual(["pod-3 invoke 1"]);
    world.answer("pod-3", 1, "1");
    world.answer("pod-2", 1, "1");
    expect(world.answers).toMatchObject([{ value: "1" }]);
    expect(world.lies).toEqual([]);
  });

  test("with the second of a call end its attempt, as lost", () => {
    const world = new World();
    world.invoke(1);
    world.die("pod-1");
    world.die("pod-2");
    expect(JSON.parse(world.answers[0]!.failure)).toMatchObject({ code: "POD_LOST", message: "pod-2 died: exit code 1" });
  });

  test("before they have answered, several in a row, are asked for later and later", () => {
    const world = new World();
    for (let i = 1; i <= 5; i++) {
      world.invoke(i);
      world.die(`pod-${i}`);
    }
    expect(world.members.size).toBe(1);
    world.clock.advance(150);
    expect(world.members.size).toBe(1);
    world.clock.advance(100);
    expect(world.members.size).toBe(2);
  });
});

test("what a store would be asked for is refused with the reason, and progress is nobody's", () => {
  const world = new World();
  world.invoke(1);
  world.sent.length = 0;
  world.say("pod-1", { t: "request", lease: 1, id: 7, ask: { op: "get", key: "orders/1" } });
  world.say("pod-1", { t: "progress", lease: 1, value: "1" });
  const message = world.sent[0]?.message as ToPod & { t: "reply" };
  expect(message).toMatchObject({ t: "reply", lease: 1, id: 7, value: "" });
  expect(JSON.parse(message.failure)).toMatchObject({ code: "ACCESS_DENIED", message: expect.stringContaining('"sum"') });
  expect(world.passedOn).toEqual([]);
});

test("a bundle that one of them refuses is refused by the whole", () => {
  const world = new World();
  world.say("pod-1", { t: "refused", version: "1", failure: '{"code":"X","message":"y"}' });
  expect(world.passedOn).toEqual(["refused"]);
});

describe("without calls", () => {
  test("they end after a while, counted from the last one", () => {
    const world = new World();
    world.clock.advance(IDLE_MS - 1);
    world.invoke(1);
    world.clock.advance(IDLE_MS);
    for (const pod of ["pod-1", "pod-2"]) world.answer(pod, 1, "1");
    world.clock.advance(IDLE_MS - 1);
    expect(world.exits).toEqual([]);
    world.clock.advance(1);
    expect(world.exits).toMatchObject([{ reason: "deleted" }]);
    expect(world.ended).toEqual(["pod-1", "pod-2"]);
    expect(world.clock.timers).toBe(0);
  });

  test("they end at once when they are drained, and otherwise with the last call or when the time for it is over", () => {
    const drained = new World();
    drained.pods.drain(1_000, "deleted");
    expect(drained.exits).toHaveLength(1);
    const [busy, late] = [new World(), new World()];
    for (const world of [busy, late]) {
      world.invoke(1);
      world.pods.drain(1_000, "deleted");
      expect(world.exits).toEqual([]);
    }
    for (const pod of ["pod-1", "pod-2"]) busy.answer(pod, 1, "1");
    expect(busy.exits).toHaveLength(1);
    late.clock.advance(1_000);
    expect(late.exits).toHaveLength(1);
    expect(late.answers).toEqual([]);
  });
});
