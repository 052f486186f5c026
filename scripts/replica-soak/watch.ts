/** What the processes take while they are watched: memory, open files, and room on the disk. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

export interface Most {
  controlPlaneMb: number;
  podMb: number;
  files: number;
  processes: number;
  /** What the replicas keep on disk, of all sets. */
  replicasMb: number;
}

const EVERY_MS = 250;
const KB_PER_MB = 1_024;

export class Watch {
  readonly most: Most = { controlPlaneMb: 0, podMb: 0, files: 0, processes: 0, replicasMb: 0 };
  /** At the end of each round. */
  readonly rounds: Most[] = [];
  readonly #processes: () => number[];
  readonly #controlPlane: () => number | undefined;
  readonly #replicas: string;
  readonly #timer: NodeJS.Timeout;

  constructor(processes: () => number[], controlPlane: () => number | undefined, data: string) {
    this.#processes = processes;
    this.#controlPlane = controlPlane;
    this.#replicas = join(data, "replicas");
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  round(): Most {
    const now = this.#look();
    this.rounds.push(now);
    return now;
  }

  #look(): Most {
    const controlPlane = this.#controlPlane();
    const pids = this.#processes();
    const pods = pids.filter((pid) => pid !== controlPlane).map(residentMb);
    const now: Most = {
      controlPlaneMb: controlPlane === undefined ? 0 : residentMb(controlPlane),
      podMb: Math.max(0, ...pods),
      files: Math.max(0, ...pids.map(openFiles)),
      processes: pids.length,
      replicasMb: Math.ceil(bytesBelow(this.#replicas) / KB_PER_MB ** 2),
    };
    for (const key of Object.keys(now) as (keyof Most)[]) this.most[key] = Math.max(this.most[key], now[key]);
    return now;
  }
}

/** A process, a file or a folder that is gone by now takes nothing. */
const orNothing = <T>(read: () => T, nothing: T): T => {
  try {
    return read();
  } catch {
    return nothing;
  }
};

const residentMb = (pid: number): number => {
  const status = orNothing(() => readFileSync(`/proc/${pid}/status`, "utf8"), "");
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / KB_PER_MB);
};

const openFiles = (pid: number): number => orNothing(() => readdirSync(`/proc/${pid}/fd`).length, 0);

const bytesBelow = (directory: string): number =>
  orNothing(() => readdirSync(directory, { recursive: true, encoding: "utf8" }), []).reduce(
    (sum, name) => sum + orNothing(() => statSync(join(directory, name)).size, 0),
    0,
  );
