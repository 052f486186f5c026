/**
 * A control plane as a process of its own, from the build: `node platform-main.ts '{"platform": …}'`. It tells on one line of standard output
 * where it listens, or why it does not start; later lines tell of runs that the auditor had to mend. It ends when its standard input does, so
 * that nothing outlives whoever started it.
 */
import type { Batch, Journal } from "../../src/journal/port.ts";
import type { PlatformOptions } from "../../src/platform.ts";

export interface PlatformMainOptions {
  platform: PlatformOptions & { dataDirectory: string };
  /** Kill this process by SIGKILL right after a commit: the n-th, or the first that holds this event. */
  crashAfter?: CrashPoint;
  /** Let the auditor look every so often, besides its own times. */
  auditEveryMs?: number;
}

export type CrashPoint = { commit: number } | { event: string; name?: string };

const built = <Module>(path: string): Promise<Module> => import(new URL(`../../dist/${path}`, import.meta.url).href) as Promise<Module>;

const say = (line: unknown): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const isCrash = (point: CrashPoint, batch: Batch, commits: number): boolean => {
  if ("commit" in point) return commits >= point.commit;
  return batch.events.some(
    ({ body }) => body.type === point.event && (point.name === undefined || ("name" in body && body.name === point.name)),
  );
};

/** The real journal, but the process dies as soon as a certain commit is on disk. */
const crashingJournal = async (directory: string, point: CrashPoint): Promise<Journal> => {
  const { openSqliteJournal } = await built<typeof import("../../src/journal/sqlite.ts")>("journal/sqlite.js");
  const journal = await openSqliteJournal(directory, { inlineLimit: 32 * 1024 });
  const commit = journal.commit.bind(journal);
  let commits = 0;
  journal.commit = async (batch) => {
    const first = await commit(batch);
    if (isCrash(point, batch, ++commits)) process.kill(process.pid, "SIGKILL");
    return first;
  };
  return journal;
};

const main = async ({ platform: options, crashAfter, auditEveryMs }: PlatformMainOptions): Promise<void> => {
  const { startPlatform } = await built<typeof import("../../src/platform.ts")>("platform.js");
  const adapters = crashAfter === undefined ? {} : { journal: await crashingJournal(options.dataDirectory, crashAfter) };
  const log = (line: string): void => void process.stderr.write(`${line}\n`);
  const platform = await startPlatform({ ...options, adapters, log, onFatal: () => process.exit(70) });
  if (auditEveryMs !== undefined) {
    setInterval(() => {
      const found = platform.audit();
      if (found.repaired > 0) say({ audited: found });
    }, auditEveryMs);
  }
  process.once("SIGTERM", () => void platform.stop().then(() => process.exit(0)));
  process.stdin.resume().once("end", () => process.exit(0));
  say({ url: platform.url });
};

await main(JSON.parse(process.argv[2] ?? "{}") as PlatformMainOptions).catch((error: { code?: string; message: string }) => {
  say({ error: { code: error.code, message: error.message } });
  process.exit(1);
});
