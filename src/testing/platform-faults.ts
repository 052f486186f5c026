import type { Disturbance } from "../cluster/memory-wire.ts";
import type { Random } from "../lib/random.ts";
import { seeded } from "../lib/random.ts";
import type { FromPod, ToPod } from "../protocol/pod.ts";
import type { CrashPoint } from "./mortal-journal.ts";

/** Faults that happen by chance, drawn from the seed. Everything is 0 by default. */
export interface RandomFaults {
  /** Probability that the control plane dies at a commit, just before or just after it became durable. */
  crashes?: number;
  /** Probability that a message kills the pod that sends or gets it. */
  podDeaths?: number;
  /** Probability that a pod fails to start. */
  failedStarts?: number;
  /** The longest time that a pod takes to start. */
  podStartMs?: number;
  /** The longest time that a message is under way. */
  messageDelayMs?: number;
  /** The longest time that a commit takes. */
  commitMs?: number;
}

/** Decides what befalls a message between control plane and pods; `undefined` lets it pass. */
export type Disturber = (message: ToPod | FromPod, pod: string) => Disturbance | undefined;

/** The faults of pods and control plane: those that a test plans, and those that chance brings. */
export class PlatformFaults {
  readonly #random: Random;
  readonly #rates: RandomFaults;
  readonly #kill: (pod: string) => void;
  /** Whether chance has its say. */
  isOn = false;
  crashAt: { commits: number; point: CrashPoint } | undefined;
  failingStarts = 0;
  decide: Disturber | undefined;

  constructor(seed: number, rates: RandomFaults, kill: (pod: string) => void) {
    this.#random = seeded(seed);
    this.#rates = rates;
    this.#kill = kill;
  }

  calm(): void {
    this.isOn = false;
    this.crashAt = undefined;
    this.failingStarts = 0;
    this.decide = undefined;
  }

  /** Asked at each commit: whether the control plane dies there. */
  crash(): CrashPoint | undefined {
    if (this.crashAt !== undefined && --this.crashAt.commits === 0) {
      const { point } = this.crashAt;
      this.crashAt = undefined;
      return point;
    }
    if (!this.#happens("crashes")) return undefined;
    return this.#random.next() < 0.5 ? "before" : "after";
  }

  commitMs(): number {
    return this.#upTo("commitMs") ?? 0;
  }

  podStartMs(): number | undefined {
    return this.#upTo("podStartMs");
  }

  failsToStart(): boolean {
    if (this.failingStarts === 0) return this.#happens("failedStarts");
    this.failingStarts--;
    return true;
  }

  befall(pod: string, message: ToPod | FromPod): Disturbance | undefined {
    const decided = this.decide?.(message, pod);
    if (decided !== undefined) return decided;
    if (this.#happens("podDeaths")) {
      this.#kill(pod);
      return "lose";
    }
    const delayMs = this.#upTo("messageDelayMs");
    return delayMs === undefined ? undefined : { delayMs };
  }

  #happens(fault: "crashes" | "podDeaths" | "failedStarts"): boolean {
    const probability = this.#rates[fault] ?? 0;
    return this.isOn && probability > 0 && this.#random.next() < probability;
  }

  #upTo(fault: "podStartMs" | "messageDelayMs" | "commitMs"): number | undefined {
    const longest = this.#rates[fault] ?? 0;
    return this.isOn && longest > 0 ? this.#random.below(longest + 1) : undefined;
  }
}
