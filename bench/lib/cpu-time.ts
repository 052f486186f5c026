/** CPU time of a process and of those that it has started, as the system counts it. Linux only. */
import { readdirSync, readFileSync } from "node:fs";

/** What the platform's process, its pods and what these have started have used, in µs. */
export interface TreeCpu {
  own: number;
  children: number;
  grandchildren: number;
}

/** `undefined` for what has ended since somebody told of it. */
const read = (path: string): string | undefined => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
};

const parentOf = (pid: number): number => {
  const stat = read(`/proc/${pid}/stat`) ?? ") ? 0";
  return Number(stat.slice(stat.lastIndexOf(") ") + 2).split(" ")[1]);
};

const threadsOf = (pid: number): string[] => {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    // It has ended.
    return [];
  }
};

/** To the nanosecond, where /proc/<pid>/stat counts hundredths of a second. */
const usedBy = (pid: number): number =>
  threadsOf(pid).reduce((sum, thread) => sum + Number(read(`/proc/${pid}/task/${thread}/schedstat`)?.split(" ")[0] ?? 0) / 1_000, 0);

export const treeCpu = (root: number): TreeCpu => {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const parents = new Map(pids.map((name) => [Number(name), parentOf(Number(name))]));
  const used: TreeCpu = { own: usedBy(root), children: 0, grandchildren: 0 };
  for (const [pid, parent] of parents) {
    if (parent === root) used.children += usedBy(pid);
    else if (parents.get(parent) === root) used.grandchildren += usedBy(pid);
  }
  return used;
};
