/**
 * Calls that are executed twice and compared (pure): which pods execute them, what their outcomes mean, and who has lied.
 *
 * Owns: the executions of calls under way, and which pods count. Does not own: processes, leases, what an outcome is (compared-outcome.ts).
 *
 * D1  A call ends once: with an outcome that two different pods have given, or as diverged, lost, or withdrawn.
 * D2  No pod is asked twice for the same call, and what a liar has said of calls under way is void.
 * D3  Three outcomes decide: whoever two others contradict is a liar, and none of three different ones is taken.
 */
import { type ComparedOutcome, isSameOutcome } from "./compared-outcome.ts";

export type ComparisonInput =
  | { t: "call"; call: number }
  | { t: "withdraw"; call: number }
  /** This pod can execute. */
  | { t: "joined"; pod: string }
  /** Its process has ended: what it was executing is executed by another one. */
  | { t: "left"; pod: string }
  | { t: "answered"; call: number; pod: string; outcome: ComparedOutcome };

export type ComparisonEffect =
  | { t: "execute"; call: number; pod: string }
  /** Nobody wants this execution's outcome any more. */
  | { t: "abort"; call: number; pod: string }
  /** The outcome that `pods` have given, the first of them first. */
  | { t: "settled"; call: number; pods: readonly string[] }
  | { t: "diverged"; call: number; pods: readonly string[] }
  /** Its pods died too often; the last was `pod`. */
  | { t: "lost"; call: number; pod: string }
  /** `pods` contradict this pod. It counts no more from now on. */
  | { t: "quarantine"; pod: string; call: number; pods: readonly string[] };

interface Comparison {
  readonly executing: Set<string>;
  readonly outcomes: Map<string, ComparedOutcome>;
  /** Executions that ended with their pods. */
  losses: number;
}

/** Pods that execute each call. */
export const PODS_COMPARED = 2;
/** With so many deaths of its pods an attempt is over: what it executes may well be their cause. */
export const MOST_LOSSES = 2;

export class ComparisonMachine {
  /** Pods that can execute, and how many calls each executes. */
  readonly #pods = new Map<string, number>();
  readonly #calls = new Map<number, Comparison>();
  #effects: ComparisonEffect[] = [];

  /** Pods that can execute. */
  get pods(): ReadonlyMap<string, number> {
    return this.#pods;
  }

  /** Calls that have not ended. */
  get size(): number {
    return this.#calls.size;
  }

  /** So many more pods are needed for what is under way, or to take calls at all. */
  get lacking(): number {
    let lacking = PODS_COMPARED - this.#pods.size;
    for (const comparison of this.#calls.values()) {
      const open = openOf(comparison);
      if (open > 0) lacking = Math.max(lacking, open);
    }
    return Math.max(0, lacking);
  }

  step(input: ComparisonInput): readonly ComparisonEffect[] {
    this.#effects = [];
    switch (input.t) {
      case "call":
        this.#calls.set(input.call, { executing: new Set(), outcomes: new Map(), losses: 0 });
        this.#assign(input.call);
        break;
      case "withdraw":
        this.#end(input.call);
        break;
      case "joined":
        this.#pods.set(input.pod, 0);
        this.#assignAll();
        break;
      case "left":
        this.#left(input.pod);
        break;
      case "answered":
        this.#answered(input);
        break;
    }
    return this.#effects;
  }

  #answered({ call, pod, outcome }: ComparisonInput & { t: "answered" }): void {
    const comparison = this.#calls.get(call);
    // Of a call that is over, or a second answer to it.
    if (comparison?.executing.delete(pod) !== true) return;
    this.#frees(pod);
    const { outcomes } = comparison;
    const agreeing = [...outcomes].filter(([, other]) => isSameOutcome(other, outcome)).map(([other]) => other);
    outcomes.set(pod, outcome);
    if (agreeing.length > 0) return this.#settle(call, comparison, [...agreeing, pod]);
    if (outcomes.size <= PODS_COMPARED) return this.#assign(call);
    this.#effects.push({ t: "diverged", call, pods: [...outcomes.keys()] });
    this.#end(call);
  }

  #settle(call: number, { outcomes }: Comparison, pods: string[]): void {
    const liars = [...outcomes.keys()].filter((pod) => !pods.includes(pod));
    // Before the call's end, with which its evidence goes.
    for (const pod of liars) this.#effects.push({ t: "quarantine", pod, call, pods });
    this.#effects.push({ t: "settled", call, pods });
    this.#end(call);
    for (const pod of liars) this.#void(pod);
    if (liars.length > 0) this.#assignAll();
  }

  /** Nothing that a liar says counts, nor what it has said of calls that are still compared. */
  #void(pod: string): void {
    this.#pods.delete(pod);
    for (const { executing, outcomes } of this.#calls.values()) {
      executing.delete(pod);
      outcomes.delete(pod);
    }
  }

  /** What it has answered stays: it was right as far as anybody knows. */
  #left(pod: string): void {
    if (!this.#pods.delete(pod)) return;
    for (const [call, comparison] of [...this.#calls]) {
      if (!comparison.executing.delete(pod) || ++comparison.losses < MOST_LOSSES) continue;
      this.#effects.push({ t: "lost", call, pod });
      this.#end(call);
    }
    this.#assignAll();
  }

  #end(call: number): void {
    const comparison = this.#calls.get(call);
    if (comparison === undefined) return;
    this.#calls.delete(call);
    for (const pod of comparison.executing) {
      this.#frees(pod);
      this.#effects.push({ t: "abort", call, pod });
    }
  }

  /** One that executes is there: whoever leaves, or is convicted, executes nothing any more. */
  #frees(pod: string): void {
    this.#pods.set(pod, this.#pods.get(pod)! - 1);
  }

  #assignAll(): void {
    for (const call of this.#calls.keys()) this.#assign(call);
  }

  #assign(call: number): void {
    const comparison = this.#calls.get(call);
    if (comparison === undefined) return;
    for (let open = openOf(comparison); open > 0; open--) {
      const pod = this.#freest(comparison);
      if (pod === undefined) return;
      comparison.executing.add(pod);
      this.#pods.set(pod, this.#pods.get(pod)! + 1);
      this.#effects.push({ t: "execute", call, pod });
    }
  }

  /** The one with the least to do of those that this call has not asked. */
  #freest({ executing, outcomes }: Comparison): string | undefined {
    let best: string | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [pod, calls] of this.#pods) {
      if (calls >= least || executing.has(pod) || outcomes.has(pod)) continue;
      best = pod;
      least = calls;
    }
    return best;
  }
}

/** Executions that a call wants beyond those under way: two outcomes that differ want a third. */
const openOf = ({ executing, outcomes }: Comparison): number => {
  const wanted = outcomes.size >= PODS_COMPARED ? outcomes.size + 1 : PODS_COMPARED;
  return wanted - outcomes.size - executing.size;
};
