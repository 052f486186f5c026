/** What a process of Node keeps in memory after garbage was collected, through its inspector. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** In bytes. */
export interface Kept {
  /** Objects of JavaScript. */
  heap: number;
  /** Buffers and what else objects keep outside of the heap. */
  outside: number;
  /** What the process has from the system; before garbage was collected `withGarbage`. */
  resident: number;
  withGarbage: number;
}

/** Two: what the first one frees may have kept others. */
const COLLECTIONS = 2;
const INSPECTOR = "http://127.0.0.1:9229/json";
const ATTEMPTS = 200;
const AGAIN_AFTER_MS = 50;
/** The answer goes out before the inspector is closed. */
const CLOSE_AFTER_MS = 10;

/**
 * The process opens its inspector for so long. Not two at a time: there is one port, and another program's would be looked at, and closed.
 * @throws {Error} when it does not open its inspector, or another process listens there
 * @param snapshot the file that its heap is written to, if any
 */
export const keptBy = async (pid: number, snapshot?: string): Promise<Kept> => {
  process.kill(pid, "SIGUSR1");
  const inspector = await connect();
  if ((await inspector.evaluate("process.pid")) !== String(pid))
    throw new Error(`${INSPECTOR} is another process's inspector than ${pid}'s`);
  const { rss: withGarbage } = await usageOf(inspector);
  for (let i = 0; i < COLLECTIONS; i++) await inspector.ask("HeapProfiler.collectGarbage");
  if (snapshot !== undefined)
    await inspector.evaluate(`process.getBuiltinModule("node:v8").writeHeapSnapshot(${JSON.stringify(snapshot)})`);
  const { heapUsed, external, rss } = await usageOf(inspector);
  await inspector.evaluate(`void setTimeout(() => process.getBuiltinModule("node:inspector").close(), ${CLOSE_AFTER_MS})`);
  await inspector.closed;
  return { heap: heapUsed, outside: external, resident: rss, withGarbage };
};

const usageOf = async (inspector: Inspector): Promise<NodeJS.MemoryUsage> =>
  JSON.parse(await inspector.evaluate("JSON.stringify(process.memoryUsage())")) as NodeJS.MemoryUsage;

export const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);

interface Answer {
  result?: { value?: unknown };
}

interface Inspector {
  ask(method: string, params?: object): Promise<Answer>;
  evaluate(expression: string): Promise<string>;
  closed: Promise<void>;
}

const connect = async (): Promise<Inspector> => {
  const socket = new WebSocket(await address());
  const waiting = new Map<number, (answer: Answer) => void>();
  socket.addEventListener("message", ({ data }) => {
    const { id, result } = JSON.parse(String(data)) as { id?: number; result: Answer };
    if (id !== undefined) waiting.get(id)?.(result);
  });
  const closed = new Promise<void>((resolve) => socket.addEventListener("close", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error("the inspector takes no connection")));
  });
  const ask: Inspector["ask"] = (method, params = {}) =>
    new Promise((resolve) => {
      const id = waiting.size + 1;
      waiting.set(id, resolve);
      socket.send(JSON.stringify({ id, method, params }));
    });
  const evaluate = async (expression: string): Promise<string> => String((await ask("Runtime.evaluate", { expression })).result?.value);
  return { ask, evaluate, closed };
};

const address = async (): Promise<string> => {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      const [target] = (await (await fetch(INSPECTOR)).json()) as { webSocketDebuggerUrl: string }[];
      if (target !== undefined) return target.webSocketDebuggerUrl;
    } catch {
      // It listens once its event loop has come to the signal.
    }
    await delay(AGAIN_AFTER_MS);
  }
  throw new Error("the process did not open its inspector");
};
