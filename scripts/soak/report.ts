/** What a soak found. */
export interface SoakReport {
  seed: number;
  seconds: number;
  kills: { pods: number; stoppedPods: number; controlPlanes: number; duringStart: number };
  runs: { accepted: number; finished: number; children: number; unanswered: number; resumed: number };
  /** Executions of functions that left a trace, and how many of them were not the committed one. */
  executions: { total: number; repeated: number };
  /** Objects that were put, and PUTs whose answer was lost. */
  puts: { accepted: number; unanswered: number };
  /** Committed increments of the counters, and compensations. */
  state: { increments: number; compensations: number };
  /** From the kill of a control plane to the next one's taking work, in milliseconds. */
  recoveryMs: { median: number; p95: number; most: number };
  auditRepairs: number;
  /** What must not be; empty when all promises were kept. */
  violations: string[];
}

const MOST_KEPT = 100;

/** Collects what must not be, each once. */
export class Violations {
  readonly #texts = new Set<string>();
  #more = 0;
  readonly #seen: (text: string) => void;

  /** @param seen told of each at once */
  constructor(seen: (text: string) => void) {
    this.#seen = seen;
  }

  add(text: string): void {
    if (this.#texts.has(text)) return;
    if (this.#texts.size >= MOST_KEPT) {
      this.#more++;
      return;
    }
    this.#texts.add(text);
    this.#seen(text);
  }

  list(): string[] {
    return this.#more === 0 ? [...this.#texts] : [...this.#texts, `and ${this.#more} more`];
  }
}

export const quantile = (values: readonly number[], q: number): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0);
};

export const textOf = ({ seed, seconds, kills, runs, executions, puts, state, recoveryMs, auditRepairs, violations }: SoakReport): string =>
  [
    `seed ${seed}, ${seconds} s`,
    `killed: ${kills.pods} pods, ${kills.controlPlanes} control planes (${kills.duringStart} of them while they started); stopped ${kills.stoppedPods} pods`,
    `runs: ${runs.accepted} accepted, ${runs.finished} finished, ${runs.children} children, ${runs.unanswered} starts without an answer, ${runs.resumed} resumed by hand`,
    `executions: ${executions.total}, ${executions.repeated} of them repeated`,
    `objects: ${puts.accepted} put, ${puts.unanswered} PUTs without an answer`,
    `state: ${state.increments} increments, ${state.compensations} compensations`,
    `recovery: median ${recoveryMs.median} ms, p95 ${recoveryMs.p95} ms, most ${recoveryMs.most} ms`,
    `audit repairs: ${auditRepairs}`,
    violations.length === 0
      ? "violations: none"
      : `violations: ${violations.length}\n${violations.map((text) => `  - ${text}`).join("\n")}`,
  ].join("\n");
