import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ComparedOutcome } from "./compared-outcome.ts";
import { type ComparisonEffect, type ComparisonInput, ComparisonMachine, MOST_LOSSES } from "./comparison-machine.ts";

const of = (value: string): ComparedOutcome => ({ value: JSON.stringify(value) });

const withPods = (...pods: string[]): ComparisonMachine => {
  const machine = new ComparisonMachine();
  for (const pod of pods) machine.step({ t: "joined", pod });
  return machine;
};

const answer = (machine: ComparisonMachine, call: number, pod: string, value: string): readonly ComparisonEffect[] =>
  machine.step({ t: "answered", call, pod, outcome: of(value) });

describe("a call", () => {
  test("is executed by two different pods, and settled by the second answer that is the same", () => {
    const machine = withPods("a", "b", "c");
    expect(machine.step({ t: "call", call: 1 })).toEqual([
      { t: "execute", call: 1, pod: "a" },
      { t: "execute", call: 1, pod: "b" },
    ]);
    expect(answer(machine, 1, "b", "right")).toEqual([]);
    expect(answer(machine, 1, "a", "right")).toEqual([{ t: "settled", call: 1, pods: ["b", "a"] }]);
    expect(machine.size).toBe(0);
  });

  test("goes to the pods with the least to do", () => {
    const machine = withPods("a", "b", "c");
    machine.step({ t: "call", call: 1 });
    expect(machine.step({ t: "call", call: 2 })).toEqual([
      { t: "execute", call: 2, pod: "c" },
      { t: "execute", call: 2, pod: "a" },
    ]);
  });

  test("waits for pods, and says how many it lacks", () => {
    const machine = new ComparisonMachine();
    expect(machine.lacking).toBe(2);
    expect(machine.step({ t: "call", call: 1 })).toEqual([]);
    machine.step({ t: "joined", pod: "a" });
    expect(machine.lacking).toBe(1);
    expect(machine.step({ t: "joined", pod: "b" })).toEqual([{ t: "execute", call: 1, pod: "b" }]);
    expect(machine.lacking).toBe(0);
    machine.step({ t: "joined", pod: "c" });
    expect(machine.lacking).toBe(0);
  });

  test("is no more of a pod that has left, whatever is said of it later", () => {
    const machine = withPods("a", "b");
    machine.step({ t: "call", call: 1 });
    machine.step({ t: "left", pod: "a" });
    expect(machine.step({ t: "left", pod: "a" })).toEqual([]);
    expect(answer(machine, 1, "a", "right")).toEqual([]);
    machine.step({ t: "withdraw", call: 1 });
    machine.step({ t: "withdraw", call: 1 });
    expect([...machine.pods]).toEqual([["b", 0]]);
  });

  test("is executed by a third pod when two differ, which settles it and convicts the one that two contradict", () => {
    const machine = withPods("a", "b");
    machine.step({ t: "call", call: 1 });
    answer(machine, 1, "a", "wrong");
    expect(answer(machine, 1, "b", "right")).toEqual([]);
    expect(machine.lacking).toBe(1);
    expect(machine.step({ t: "joined", pod: "c" })).toEqual([{ t: "execute", call: 1, pod: "c" }]);
    expect(answer(machine, 1, "c", "right")).toEqual([
      { t: "quarantine", pod: "a", call: 1, pods: ["b", "c"] },
      { t: "settled", call: 1, pods: ["b", "c"] },
    ]);
    expect([...machine.pods.keys()]).toEqual(["b", "c"]);
  });

  test("has diverged when three differ, and nobody is convicted", () => {
    const machine = withPods("a", "b", "c");
    machine.step({ t: "call", call: 1 });
    answer(machine, 1, "a", "1");
    expect(answer(machine, 1, "b", "2")).toEqual([{ t: "execute", call: 1, pod: "c" }]);
    expect(answer(machine, 1, "c", "3")).toEqual([{ t: "diverged", call: 1, pods: ["a", "b", "c"] }]);
    expect(machine.pods.size).toBe(3);
  });

  test("that is withdrawn is aborted where it is executed, and what comes of it is dropped", () => {
    const machine = withPods("a", "b");
    machine.step({ t: "call", call: 1 });
    answer(machine, 1, "a", "right");
    expect(machine.step({ t: "withdraw", call: 1 })).toEqual([{ t: "abort", call: 1, pod: "b" }]);
    expect(answer(machine, 1, "b", "right")).toEqual([]);
    expect([...machine.pods.values()]).toEqual([0, 0]);
  });

  test("counts a pod's answer once, however often it comes", () => {
    const machine = withPods("a", "b");
    machine.step({ t: "call", call: 1 });
    answer(machine, 1, "a", "right");
    expect(answer(machine, 1, "a", "right")).toEqual([]);
    expect(machine.size).toBe(1);
  });
});

describe("a pod that ends", () => {
  test("has what it was executing executed by another, and what it has answered still counts", () => {
    const machine = withPods("a", "b", "c");
    machine.step({ t: "call", call: 1 });
    answer(machine, 1, "a", "right");
    machine.step({ t: "left", pod: "a" });
    expect(machine.step({ t: "left", pod: "b" })).toEqual([{ t: "execute", call: 1, pod: "c" }]);
    expect(answer(machine, 1, "c", "right")).toEqual([{ t: "settled", call: 1, pods: ["a", "c"] }]);
  });

  test("with too many others ends the call that they all executed", () => {
    const machine = withPods("p0", "p1");
    machine.step({ t: "call", call: 1 });
    for (let i = 0; i < MOST_LOSSES - 1; i++) {
      expect(machine.step({ t: "left", pod: `p${i}` })).toEqual([]);
      expect(machine.step({ t: "joined", pod: `p${i + 2}` })).toEqual([{ t: "execute", call: 1, pod: `p${i + 2}` }]);
    }
    const [last, other] = [`p${MOST_LOSSES - 1}`, `p${MOST_LOSSES}`];
    expect(machine.step({ t: "left", pod: last })).toEqual([
      { t: "lost", call: 1, pod: last },
      { t: "abort", call: 1, pod: other },
    ]);
  });
});

test("what a liar has said of other calls is void, and they are executed by others", () => {
  const machine = withPods("a", "b");
  machine.step({ t: "call", call: 1 });
  machine.step({ t: "call", call: 2 });
  answer(machine, 2, "a", "said before");
  answer(machine, 1, "a", "wrong");
  answer(machine, 1, "b", "right");
  machine.step({ t: "joined", pod: "c" });
  expect(answer(machine, 1, "c", "right")).toContainEqual({ t: "execute", call: 2, pod: "c" });
  // Had the liar's word counted, this would be a second one.
  expect(answer(machine, 2, "b", "said before")).toEqual([]);
  expect(answer(machine, 2, "c", "said before")).toEqual([{ t: "settled", call: 2, pods: ["b", "c"] }]);
});

// ---------------------------------------------------------------- whatever happens

type Step = { t: "call" } | { t: "withdraw" | "answer" | "die"; pick: number } | { t: "join" };

const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ t: fc.constant("call" as const) }) },
    { weight: 8, arbitrary: fc.record({ t: fc.constant("answer" as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ t: fc.constantFrom("withdraw" as const, "die" as const), pick: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ t: fc.constant("join" as const) }) },
  ),
  { maxLength: 120 },
);

/** Pods and callers around the machine, which remember what really happened. */
class World {
  readonly machine = new ComparisonMachine();
  readonly open = new Set<number>();
  readonly ends = new Map<number, ComparisonEffect["t"][]>();
  readonly executing: { call: number; pod: string }[] = [];
  readonly asked = new Set<string>();
  readonly said = new Map<string, string>();
  readonly dead = new Set<string>();
  readonly convicted: string[] = [];
  readonly #isLiar: (pod: string) => boolean;
  #calls = 0;
  #pods = 0;

  constructor(isLiar: (pod: string) => boolean) {
    this.#isLiar = isLiar;
  }

  take(step: Step): void {
    if (step.t === "call") {
      this.open.add(++this.#calls);
      return this.step({ t: "call", call: this.#calls });
    }
    if (step.t === "join") return this.join();
    if (step.t === "withdraw") {
      const call = pickOf([...this.open], step.pick);
      if (call === undefined) return;
      this.open.delete(call);
      return this.step({ t: "withdraw", call });
    }
    if (step.t === "die") {
      const pod = pickOf([...this.machine.pods.keys()], step.pick);
      return pod === undefined ? undefined : this.#die(pod);
    }
    this.answer(step.pick);
  }

  join(): void {
    if (this.machine.lacking > 0) this.step({ t: "joined", pod: `pod-${++this.#pods}` });
  }

  answer(pick: number): void {
    const execution = pickOf(this.executing, pick);
    if (execution === undefined) return;
    this.executing.splice(this.executing.indexOf(execution), 1);
    const { call, pod } = execution;
    const value = this.#isLiar(pod) && (call + pick) % 2 === 0 ? `wrong ${pick % 2}` : `right ${call}`;
    this.said.set(`${pod} of ${call}`, value);
    this.step({ t: "answered", call, pod, outcome: of(value) });
  }

  #die(pod: string): void {
    this.dead.add(pod);
    this.#forget(pod);
    this.step({ t: "left", pod });
  }

  #forget(pod: string): void {
    for (const each of this.executing.filter((one) => one.pod === pod)) this.executing.splice(this.executing.indexOf(each), 1);
  }

  step(input: ComparisonInput): void {
    for (const effect of this.machine.step(input)) this.#check(effect);
    this.#count();
  }

  /** Who is there, and how much each executes, is what has been said of them. */
  #count(): void {
    const { pods, lacking } = this.machine;
    expect(
      [...pods.keys()].filter((pod) => this.dead.has(pod) || this.convicted.includes(pod)),
      "gone, and still counted",
    ).toEqual([]);
    for (const [pod, calls] of pods) {
      const executing = this.executing.filter((each) => each.pod === pod && this.open.has(each.call));
      expect(calls, `what ${pod} executes`).toBe(executing.length);
    }
    expect(lacking, "pods that are lacking").toBeGreaterThanOrEqual(0);
  }

  #check(effect: ComparisonEffect): void {
    const { call } = effect;
    if (effect.t === "execute") {
      expect(this.asked, "asked the same pod twice").not.toContain(`${effect.pod} of ${call}`);
      expect(this.convicted, "asked a liar").not.toContain(effect.pod);
      expect(this.dead, "asked a dead pod").not.toContain(effect.pod);
      expect(this.open, "executes what nobody wants").toContain(call);
      this.asked.add(`${effect.pod} of ${call}`);
      this.executing.push({ call, pod: effect.pod });
    } else if (effect.t === "quarantine") {
      this.convicted.push(effect.pod);
      this.#forget(effect.pod);
    } else if (effect.t !== "abort") this.#ended(effect);
  }

  #ended(effect: ComparisonEffect & { t: "settled" | "diverged" | "lost" }): void {
    const { call } = effect;
    expect(this.open.delete(call), `call ${call} was answered twice, or after it was withdrawn`).toBe(true);
    this.ends.set(call, [...(this.ends.get(call) ?? []), effect.t]);
    if (effect.t !== "settled") return;
    expect(new Set(effect.pods).size, "one pod's word").toBeGreaterThanOrEqual(2);
    expect(new Set(effect.pods.map((pod) => this.said.get(`${pod} of ${call}`))).size, "not what they have said").toBe(1);
    for (const pod of effect.pods) expect(this.convicted, "a liar's word counted").not.toContain(pod);
  }

  /** Pods come when they are wanted, and all that executes answers. */
  heal(): void {
    for (let i = 0; i < 10_000 && this.open.size > 0; i++) {
      this.join();
      this.answer(i);
    }
  }
}

const pickOf = <T>(all: readonly T[], pick: number): T | undefined => (all.length === 0 ? undefined : all[pick % all.length]);

test("no answer is one pod's word, no call is answered twice, and all end once pods work (D1, D2)", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 4 }), (all, every) => {
      const world = new World((pod) => Number(pod.slice(4)) % every === 0);
      for (const step of all) world.take(step);
      world.heal();
      expect([...world.open], "calls that never end").toEqual([]);
    }),
    { numRuns: 500 },
  );
});

test("one liar among the pods never wins, is the only one convicted, and makes no call fail (D3)", () => {
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 3 }), (all, liar) => {
      const world = new World((pod) => pod === `pod-${liar}`);
      for (const step of all) world.take(step);
      world.heal();
      expect(world.convicted.filter((pod) => pod !== `pod-${liar}`)).toEqual([]);
      for (const [call, ends] of world.ends) {
        expect(ends).not.toContain("diverged");
        if (ends[0] !== "settled") continue;
        const honest = [...world.said].filter(([who, said]) => who.endsWith(` of ${call}`) && said === `right ${call}`);
        expect(honest.length, "a wrong answer").toBeGreaterThanOrEqual(2);
      }
    }),
    { numRuns: 500 },
  );
});
