import { AsyncLocalStorage } from "node:async_hooks";
import { format } from "node:util";
import type { Logger } from "../application/context.ts";
import type { LogLine } from "../protocol/run.ts";

/** Whoever log lines belong to: one attempt of a call, or a coordinator. */
export interface LogOwner {
  /** Undefined while a coordinator replays what it has logged before. */
  write(line: LogLine): void;
}

export const owner = new AsyncLocalStorage<LogOwner>();

const LINE_LIMIT = 8_192;

/** Collects an owner's lines up to a number of bytes, and marks what was cut. */
export class LineBuffer {
  #lines: LogLine[] = [];
  #bytes = 0;
  #dropped = 0;
  #isMarked = false;
  readonly #limit: number;
  readonly #now: () => number;

  constructor(limitBytes: number, now: () => number = Date.now) {
    this.#limit = limitBytes;
    this.#now = now;
  }

  get isEmpty(): boolean {
    return this.#lines.length === 0 && (this.#dropped === 0 || this.#isMarked);
  }

  push(line: LogLine): void {
    if (this.#bytes >= this.#limit) {
      this.#dropped++;
      return;
    }
    const text =
      line.text.length > LINE_LIMIT ? `${line.text.slice(0, LINE_LIMIT)}… [${line.text.length - LINE_LIMIT} more characters]` : line.text;
    this.#bytes += text.length;
    this.#lines.push(text === line.text ? line : { ...line, text });
  }

  /** What there is, and stays. */
  peek(): readonly LogLine[] {
    return [...this.#lines];
  }

  take(): LogLine[] {
    const lines = this.#lines;
    if (this.#dropped > 0 && !this.#isMarked) {
      this.#isMarked = true;
      lines.push({
        at: this.#now(),
        level: "warn",
        text: `[truncated: ${this.#dropped} more lines were dropped, the limit is ${this.#limit} bytes]`,
      });
    }
    this.#lines = [];
    this.#dropped = 0;
    return lines;
  }
}

export const loggerOf = (to: LogOwner, now: () => number = Date.now): Logger => {
  const at =
    (level: LogLine["level"]) =>
    (...values: unknown[]): void =>
      to.write({ at: now(), level, text: format(...values) });
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
};

/** Turns what user code prints into log lines of the call or run that printed it; what belongs to none goes to the real standard error. */
export const captureOutput = (): void => {
  const stray = process.stderr.write.bind(process.stderr);
  const emit = (level: LogLine["level"], text: string): void => {
    const to = owner.getStore();
    if (to === undefined) stray(`${text}\n`);
    else to.write({ at: Date.now(), level, text });
  };
  const levels: Record<string, LogLine["level"]> = {
    debug: "debug",
    log: "info",
    info: "info",
    warn: "warn",
    error: "error",
    trace: "debug",
    dir: "info",
    table: "info",
  };
  for (const [method, level] of Object.entries(levels)) {
    (console as unknown as Record<string, unknown>)[method] = (...values: unknown[]) => emit(level, format(...values));
  }
  const writer = (level: LogLine["level"]) => (chunk: unknown, encoding?: unknown, done?: unknown) => {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk as Uint8Array).toString();
    emit(level, text.replace(/\n$/, ""));
    const callback = typeof encoding === "function" ? encoding : done;
    if (typeof callback === "function") queueMicrotask(() => callback());
    return true;
  };
  process.stdout.write = writer("info") as typeof process.stdout.write;
  process.stderr.write = writer("error") as typeof process.stderr.write;
};
