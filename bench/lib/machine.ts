/** The line that says on what machine, with what versions and when figures were measured: figures without it mean little. */
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";

/** `versions` are packages and programs by name, such as `{ bullmq: "6.7.0" }`. */
export const machineLine = (versions: Record<string, string> = {}): string => {
  const processor = cpus()[0]?.model.trim() || "unknown processor";
  const facts = [
    `${availableParallelism()} cores of ${processor}`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${type()} ${release()}`,
    `Node ${process.versions.node}`,
    ...Object.entries(versions).map(([name, version]) => `${name} ${version}`),
    `load average before ${(loadavg()[0] as number).toFixed(2)}`,
    `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`,
  ];
  return facts.join(" · ");
};

/** The version in a package.json. */
export const packageVersion = (packageJson: URL): string => (JSON.parse(readFileSync(packageJson, "utf8")) as { version: string }).version;

/** Resident memory of the processes and all their descendants, in bytes. Pages that they share count once for each. Linux only. */
export const residentBytes = (pids: readonly number[]): number => {
  const seen = new Set<number>();
  const visit = (pid: number): void => {
    if (seen.has(pid)) return;
    seen.add(pid);
    for (const child of read(`/proc/${pid}/task/${pid}/children`).split(" ")) if (child !== "") visit(Number(child));
  };
  for (const pid of pids) visit(pid);
  return [...seen].reduce((sum, pid) => sum + Number(/VmRSS:\s+(\d+) kB/.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024, 0);
};

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process has ended since it was listed: it has no memory and no children any more.
    return "";
  }
};
