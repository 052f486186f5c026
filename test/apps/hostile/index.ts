/** Functions and coordinators that misbehave in every way that the platform must survive. */
import { spawn } from "node:child_process";
import { coordinator, fn, TerminalError } from "lockstep";
import * as z from "zod";

const once = { retry: { attempts: 1, onExhausted: "fail" } } as const;
const nothing = (): Promise<never> => new Promise(() => undefined);

export const throwsText = fn("throws-text", () => Promise.reject("just text"), once);
export const throwsNull = fn("throws-null", () => Promise.reject(null), once);
export const throwsObject = fn("throws-object", () => Promise.reject({ status: 418, why: { nested: true } }), once);
export const throwsTerminal = fn("throws-terminal", () => {
  throw new TerminalError("never again", { code: "MY_OWN", details: { at: 3 }, cause: new Error("deep down") });
});

export const returnsNothing = fn("returns-nothing", () => undefined);
export const returnsBigInt = fn("returns-bigint", () => ({ total: [1, 10n] }), once);
export const returnsCycle = fn(
  "returns-cycle",
  () => {
    const order: Record<string, unknown> = { lines: [] };
    (order.lines as unknown[]).push({ order });
    return order;
  },
  once,
);
export const returnsNaN = fn("returns-nan", () => ({ price: Number.NaN }), once);
export const returnsFunction = fn("returns-function", () => () => 1, once);
export const returnsThrowingGetter = fn(
  "returns-throwing-getter",
  () => ({
    get balance() {
      throw new Error("no balance");
    },
  }),
  once,
);
export const returnsMuch = fn("returns-much", ({ bytes }: { bytes: number }) => "x".repeat(bytes), once);
export const returnsDeep = fn(
  "returns-deep",
  ({ depth }: { depth: number }) => {
    let value: unknown = 1;
    for (let i = 0; i < depth; i++) value = [value];
    return value;
  },
  once,
);

export const validated = fn("validated", ({ amount, to }) => `${amount} to ${to}`, {
  input: z.object({ amount: z.number().positive(), to: z.string().min(1) }),
  output: z.string(),
});
export const wrongOutput = fn("wrong-output", () => 5 as unknown as string, { output: z.string() });

export const exits = fn("exits", () => process.exit(3), once);
export const exitsLater = fn(
  "exits-later",
  () => {
    setTimeout(() => process.exit(4), 5);
    return nothing();
  },
  once,
);
export const aborts = fn("aborts", () => process.abort(), once);
export const killsItself = fn(
  "kills-itself",
  () => {
    process.kill(process.pid, "SIGKILL");
    return nothing();
  },
  once,
);

export const fillsHeap = fn(
  "fills-heap",
  () => {
    const kept: unknown[] = [];
    for (;;) kept.push(new Array(1_000).fill(kept.length));
  },
  once,
);
export const fillsBuffers = fn(
  "fills-buffers",
  async () => {
    const kept: Buffer[] = [];
    // Slowly enough that the machine of whoever runs this has room until it is noticed.
    for (;;) {
      kept.push(Buffer.alloc(16 << 20, 1));
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
  once,
);

export const chatty = fn("chatty", ({ lines, length }: { lines: number; length: number }) => {
  for (let i = 0; i < lines; i++) console.log("y".repeat(length));
  process.stdout.write("written to standard output\n");
  return lines;
});

export const loops = fn(
  "loops",
  () => {
    for (;;);
  },
  { ...once, timeoutMs: 300 },
);
export const loopsForLong = fn("loops-for-long", () => {
  for (;;);
});
export const neverAnswers = fn("never-answers", nothing, { ...once, timeoutMs: 200 });
export const leavesRejection = fn("leaves-rejection", async () => {
  void Promise.reject(new Error("nobody awaits me"));
  await new Promise((resolve) => setTimeout(resolve, 20));
  return "went on";
});
export const throwsInTimer = fn(
  "throws-in-timer",
  () => {
    setTimeout(() => {
      throw new Error("thrown by a timer");
    }, 5);
    return nothing();
  },
  once,
);
export const throwsAfterwards = fn("throws-afterwards", () => {
  setTimeout(() => {
    throw new Error("thrown when the call was over");
  }, 20);
  return "answered";
});

/** Leaves a process behind that holds on to the pod's standard error, and in its first attempt never answers. */
export const leavesProcess = fn("leaves-process", (_: unknown, ctx) => {
  if (ctx.attempt > 1) return ctx.attempt;
  spawn(process.execPath, ["-e", "setInterval(() => {}, 1000) // left behind"], { stdio: "inherit", detached: true }).unref();
  return nothing();
});

/** Finds the pod's own connections and writes what it was given to them, as hostile code could. */
export const writesToSockets = fn(
  "writes-to-sockets",
  ({ base64 }: { base64: string }) => {
    const handles = (
      process as unknown as { _getActiveHandles(): { write?: (data: Buffer) => void; remoteAddress?: string }[] }
    )._getActiveHandles();
    for (const handle of handles) if (typeof handle.write === "function") handle.write(Buffer.from(base64, "base64"));
    return nothing();
  },
  { ...once, timeoutMs: 1_000 },
);

export const environment = fn("environment", () => ({
  env: { ...process.env },
  argv: [...process.execArgv, ...process.argv],
  pid: process.pid,
}));

export const innocent = fn("innocent", (x: number) => x + 1);

export const stuck = coordinator("stuck", async () => {
  for (;;);
});
export const exiting = coordinator("exiting", async () => process.exit(5));
export const patient = coordinator("patient", async (ctx, input: { x: number }) => {
  const x = await ctx.call(innocent, input.x);
  await ctx.signal("go");
  return ctx.call(innocent, x);
});
export const fillsHeapToo = coordinator("fills-heap-too", async () => {
  const kept: unknown[] = [];
  for (;;) kept.push(new Array(1_000).fill(kept.length));
});
export const wrongArguments = coordinator("wrong-arguments", async (ctx, input: { method: string }) => {
  const wrong = ctx as unknown as Record<string, (...values: unknown[]) => Promise<unknown>>;
  if (input.method === "signal") return wrong.signal!(42);
  if (input.method === "step") return wrong.step!(undefined, () => 1);
  if (input.method === "call") return wrong.call!({ name: 7 }, 1);
  if (input.method === "run") return wrong.run!({}, 1);
  if (input.method === "sleep") return wrong.sleep!("soon");
  return wrong.call!("innocent", 1, { timeoutMs: "soon", retry: { attempts: "many" } });
});
export const unserializable = coordinator("unserializable", async (ctx) => ctx.call("innocent", { big: 10n }));
export const strangerCalls = coordinator("stranger-calls", async (ctx) => ctx.call("no-such-function"));
export const throwsInTimerToo = coordinator("throws-in-timer-too", async (ctx) => {
  setTimeout(() => {
    throw new RangeError("nobody catches this");
  });
  await ctx.signal("never");
});
export const rejectsText = coordinator("rejects-text", async () => Promise.reject("text of a coordinator"));
export const returnsTooMuch = coordinator("returns-too-much", async () => "x".repeat(10_000_000));
