/** Shows that each contender syncs to the disk before it answers: counts the calls that do so while requests come one by one. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { endAll, temporaryFolder } from "../lib/cleanup.ts";
import { load } from "../lib/http-load.ts";
import { figure, markdownTable } from "../lib/table.ts";
import type { Contender, Running } from "./contender.ts";
import type { Work } from "./work.ts";

const REQUESTS = 50;
const SYNC_CALLS = "fsync,fdatasync,msync,sync_file_range";

/** A Markdown table: syncs per request, alone and at the case's greatest number in flight. */
export const measureDurability = async (
  contenders: readonly Contender[],
  cases: readonly Work[],
  say: (text: string) => void,
): Promise<string> => {
  const rows: string[][] = [];
  const claims: string[] = [];
  for (const contender of contenders) {
    try {
      const running = await contender.start();
      claims.push(`- ${contender.name}: ${await running.durability()}`);
      for (const work of cases.filter(({ name }) => contender.lacks?.includes(name) !== true)) {
        const alone = await countSyncs(running, work, 1, REQUESTS);
        say(`${contender.name} ${work.name}: ${alone.text}`);
        rows.push([contender.name, work.name, String(REQUESTS), alone.text, figure(alone.total / REQUESTS)]);
      }
      await running.stop();
    } finally {
      await endAll();
    }
  }
  const table = markdownTable(["contender", "case", "requests, one by one", "calls while they ran", "per request"], rows);
  return [table, "", "What they say of themselves:", ...claims].join("\n");
};

const countSyncs = async (running: Running, work: Work, connections: number, count: number): Promise<{ total: number; text: string }> => {
  const request = (i: number) => running.request(work, i);
  await load({ port: running.port, connections, request, warmupMs: 1, count: 20 });
  const folder = temporaryFolder("strace");
  const output = join(folder.path, "calls");
  const pids = running.journalPids.flatMap((pid) => ["-p", String(pid)]);
  const tracer = spawn("strace", ["-f", "-qq", "-e", `trace=${SYNC_CALLS}`, "-o", output, ...pids], { stdio: "ignore" });
  const ended = new Promise<void>((resolve, reject) => {
    tracer.once("error", (error) => reject(new Error(`strace is needed: ${error.message}`)));
    tracer.once("exit", () => resolve());
  });
  await Promise.race([delay(500), ended]);
  await load({ port: running.port, connections, request, warmupMs: 1, count });
  tracer.kill("SIGINT");
  await ended;
  const counts = new Map<string, number>();
  for (const [, name] of readFileSync(output, "utf8").matchAll(/^\d+ +(\w+)\(/gm))
    counts.set(name as string, (counts.get(name as string) ?? 0) + 1);
  folder.remove();
  const total = [...counts.values()].reduce((sum, calls) => sum + calls, 0);
  return { total, text: [...counts].map(([name, calls]) => `${calls} ${name}`).join(", ") || "none" };
};
