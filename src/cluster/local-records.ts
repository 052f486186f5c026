/**
 * Which processes are pods of this data directory, on disk: what a control plane that was killed has left is found and ended by the next one.
 *
 * A process is known by its id, the time of its start and the machine's boot together: ids come again, and after a boot so do times, which
 * count from it. Where the system doesn't tell them (it does in /proc), nothing is recorded, and pods that can't end themselves stay.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

const SOCKET_DIRECTORY = "directory";

interface Row {
  pod: string;
  pid: number;
  /** Which boot of the machine, and when after it. */
  started: string;
}

export class LocalRecords {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Ends what an earlier life has left, and forgets it. Returns the pods that were still there. */
  endStrays(): string[] {
    mkdirSync(this.#folder, { recursive: true, mode: 0o700 });
    const ended: string[] = [];
    for (const name of readdirSync(this.#folder)) {
      if (name === SOCKET_DIRECTORY) this.#forgetDirectory();
      const row = /^\d+$/.test(name) ? this.#read(name) : undefined;
      // A stopped process does not end by its connection's end, nor by any signal but this one.
      if (row !== undefined && startOf(row.pid) === row.started && end(row.pid)) ended.push(row.pod);
      rmSync(join(this.#folder, name), { force: true });
    }
    return ended;
  }

  /** Keeps where this life's socket is: a process that is killed leaves its folder behind. */
  open(directory: string): void {
    writeFileSync(join(this.#folder, SOCKET_DIRECTORY), directory, { mode: 0o600 });
  }

  add(pod: string, pid: number): void {
    const started = startOf(pid);
    if (started === undefined) return;
    const row: Row = { pod, pid, started };
    try {
      writeFileSync(join(this.#folder, String(pid)), JSON.stringify(row), { mode: 0o600 });
    } catch {
      // A full disk is the journal's to report. This process is there, record or not, and whoever asked for it must get to know it.
    }
  }

  remove(pid: number | undefined): void {
    if (pid === undefined) return;
    try {
      rmSync(join(this.#folder, String(pid)), { force: true });
    } catch {
      // What is left tells of a process that is no more, which the next life finds out.
    }
  }

  close(): void {
    rmSync(join(this.#folder, SOCKET_DIRECTORY), { force: true });
  }

  #read(name: string): Row | undefined {
    try {
      const row = JSON.parse(readFileSync(join(this.#folder, name), "utf8")) as Partial<Row>;
      return Number.isInteger(row.pid) && (row.pid as number) > 1 && typeof row.started === "string" ? (row as Row) : undefined;
    } catch {
      // The machine went down while it was written; then there is no process either.
      return undefined;
    }
  }

  #forgetDirectory(): void {
    const directory = readFileSync(join(this.#folder, SOCKET_DIRECTORY), "utf8");
    // Only what can be one of ours is removed, whatever the file says.
    if (dirname(directory) === tmpdir() && /^lockstep-\w+$/.test(basename(directory))) rmSync(directory, { recursive: true, force: true });
  }
}

/** When a living process has started: the machine's boot, and the system's ticks since. */
const startOf = (pid: number): string | undefined => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name stands in parentheses and may hold anything, spaces too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : `${bootOf()}/${fields[19]}`;
  } catch {
    // It has ended, or this system has no /proc.
    return undefined;
  }
};

const bootOf = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

const end = (pid: number): boolean => {
  const wasThere = kill(pid);
  endGroup(pid);
  return wasThere;
};

/** What a pod has started, the process of a replica's user code among it, is of the group that the pod leads, and must not outlive it. */
export const endGroup = (pid: number): void => void kill(-pid);

const kill = (target: number): boolean => {
  try {
    return process.kill(target, "SIGKILL");
  } catch {
    // It has ended by itself, or leads no group.
    return false;
  }
};
