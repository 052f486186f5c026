/**
 * `node bench/breakdown.ts`: where the time of one chain-2 goes, alone and without HTTP. Marks each commit and each message between control
 * plane and pods of the built platform, and prints the median of each part.
 */
import { fileURLToPath } from "node:url";
import type { Cluster } from "../src/cluster/port.ts";
import type { Journal } from "../src/journal/port.ts";
import { endAll, temporaryFolder } from "./lib/cleanup.ts";
import { machineLine } from "./lib/machine.ts";
import { median } from "./lib/repeat.ts";
import { markdownTable } from "./lib/table.ts";

const WARM_UP = 400;
const RUNS = 300;

const built = (path: string): string => new URL(`../dist/${path}`, import.meta.url).href;

const POD_OPTIONS = {
  program: fileURLToPath(built("pod/main.js")),
  heartbeatMs: 250,
  maxPayloadBytes: 4_194_304,
  maxLogBytes: 65_536,
  startTimeoutMs: 10_000,
};

type Mark = (name: string) => void;

const markCommits = (journal: Journal, mark: Mark): Journal => {
  const commit = journal.commit.bind(journal);
  journal.commit = async (batch) => {
    mark("until the commit begins");
    const position = await commit(batch);
    mark("commit");
    return position;
  };
  return journal;
};

const markMessages = (cluster: Cluster, mark: Mark): Cluster => {
  const send = cluster.send.bind(cluster);
  cluster.send = (pod, message) => {
    mark(`until "${message.t}" is sent`);
    send(pod, message);
  };
  const start = cluster.start.bind(cluster);
  cluster.start = (listener) =>
    start({
      connected: listener.connected.bind(listener),
      gone: listener.gone.bind(listener),
      beat: listener.beat.bind(listener),
      messages: (pod, messages) => {
        mark(`until "${messages[0]?.t}" is received`);
        listener.messages(pod, messages);
      },
    });
  return cluster;
};

const main = async (): Promise<void> => {
  const [{ startPlatform }, { LocalCluster }, { systemClock }, { openSqliteJournal }, { bundleApplication, stopBundler }] =
    await Promise.all([
      import(built("platform.js")),
      import(built("cluster/local.js")),
      import(built("lib/clock.js")),
      import(built("journal/sqlite.js")),
      import(built("application/bundler.js")),
    ]);
  let marks: { name: string; at: number }[] = [];
  const mark = (name: string): void => void marks.push({ name, at: performance.now() });

  const folder = temporaryFolder("breakdown");
  const journal = markCommits(await openSqliteJournal(folder.path), mark);
  const cluster = markMessages(new LocalCluster(POD_OPTIONS, systemClock), mark);
  const platform = await startPlatform({ gateway: false, dataDirectory: folder.path, adapters: { cluster, journal } });
  await platform.controlPlane.deploy(await bundleApplication(fileURLToPath(new URL("app", import.meta.url))));
  await stopBundler();
  const parts = new Map<string, number[]>();
  const totals: number[] = [];
  for (let i = 0; i < WARM_UP + RUNS; i++) {
    marks = [];
    const startedAt = performance.now();
    const { id } = await platform.controlPlane.start({ kind: "coordinator", name: "chain2", input: '{"x":1}' });
    await platform.controlPlane.result(id, 30_000);
    mark("until the result");
    if (i < WARM_UP) continue;
    totals.push(performance.now() - startedAt);
    let last = startedAt;
    for (const [step, { name, at }] of marks.entries()) {
      const key = `${String(step + 1).padStart(2)}  ${name}`;
      parts.set(key, [...(parts.get(key) ?? []), at - last]);
      last = at;
    }
  }
  await platform.stop();
  folder.remove();
  const usual = [...parts].filter(([, times]) => times.length > RUNS / 2).sort(([a], [b]) => a.localeCompare(b));
  const rows = usual.map(([name, times]) => [name, median(times).toFixed(3)]);
  console.log(`${machineLine()}\n\n${markdownTable(["part", "median, ms"], [...rows, ["all", median(totals).toFixed(3)]])}`);
};

try {
  await main();
} finally {
  await endAll();
}
