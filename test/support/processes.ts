/** What the system knows of processes, read from /proc. */
import { readdirSync, readFileSync } from "node:fs";

const read = (pid: number, file: string): string | undefined => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // The process is gone, or belongs to somebody else: to us that is the same.
    return undefined;
  }
};

const pids = (): number[] => readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));

/** The state letter and the parent, which stand behind the program's name in parentheses. */
const statOf = (pid: number): { state: string; parent: number } | undefined => {
  const stat = read(pid, "stat");
  if (stat === undefined) return undefined;
  const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state, parent: Number(parent) };
};

/** Whether a process executes, or could: one all of whose threads have ended, and that only waits to be reaped, doesn't. */
export const isAlive = (pid: number): boolean => {
  const state = statOf(pid)?.state;
  if (state === undefined || state === "X") return false;
  return state !== "Z" || threadsOf(pid) > 1;
};

const threadsOf = (pid: number): number => {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    // It was reaped meanwhile.
    return 0;
  }
};

export const argvOf = (pid: number): string[] => (read(pid, "cmdline") ?? "").split("\0").filter((part) => part !== "");

export const environmentOf = (pid: number): Record<string, string> =>
  Object.fromEntries(
    (read(pid, "environ") ?? "")
      .split("\0")
      .flatMap((entry) => (entry === "" ? [] : [[entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]])),
  );

/** Living processes whose HOME is this folder: pods inherit it, so it marks all that a sandbox's platforms have started. */
export const processesAtHome = (home: string): number[] =>
  pids().filter((pid) => isAlive(pid) && (read(pid, "environ") ?? "").split("\0").includes(`HOME=${home}`));

/** Sends a signal; a process that is gone already is no error. */
export const signal = (pid: number, name: NodeJS.Signals): void => {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
};

const TICKS_PER_SECOND = 100;

/** Processor time that a process has used, in milliseconds. */
export const cpuMsOf = (pid: number): number => {
  const stat = read(pid, "stat") ?? "";
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return ((Number(user ?? 0) + Number(system ?? 0)) * 1_000) / TICKS_PER_SECOND;
};

/** Living processes that this one has started. */
export const childrenOf = (pid: number): number[] => pids().filter((each) => statOf(each)?.parent === pid && isAlive(each));
