import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { LogLine } from "../protocol/run.ts";
import { captureOutput, LineBuffer, type LogOwner, loggerOf, owner } from "./capture.ts";

const line = (text: string): LogLine => ({ at: 1, level: "info", text });

/** An owner that keeps what it is given, as `level text`. */
const keeper = (): LogOwner & { kept: string[] } => {
  const kept: string[] = [];
  return { kept, write: ({ level, text }) => void kept.push(`${level} ${text}`) };
};

describe("a buffer of lines", () => {
  test("gives its lines once, in order", () => {
    const buffer = new LineBuffer(100);
    expect(buffer.isEmpty).toBe(true);
    for (const text of ["a", "b"]) buffer.push(line(text));
    expect([buffer.isEmpty, buffer.take(), buffer.isEmpty, buffer.take()]).toEqual([false, [line("a"), line("b")], true, []]);
  });

  test("drops what comes after its limit, for all its life, and leaves one mark with how many there were until then", () => {
    const buffer = new LineBuffer(10, () => 77);
    for (const text of ["12345", "67890", "x", "y"]) buffer.push(line(text));
    const mark = { at: 77, level: "warn", text: "[truncated: 2 more lines were dropped, the limit is 10 bytes]" };
    expect(buffer.take()).toEqual([line("12345"), line("67890"), mark]);
    buffer.push(line("z"));
    expect([buffer.isEmpty, buffer.take()]).toEqual([true, []]);
  });

  test("leaves its mark also when its lines were taken just before the first was dropped", () => {
    const buffer = new LineBuffer(5);
    buffer.push(line("12345"));
    expect(buffer.take()).toHaveLength(1);
    buffer.push(line("6"));
    expect(buffer.isEmpty).toBe(false);
    expect(buffer.take()).toMatchObject([{ level: "warn", text: "[truncated: 1 more lines were dropped, the limit is 5 bytes]" }]);
    expect(buffer.isEmpty).toBe(true);
  });

  test("cuts a line that is too long, and says by how much", () => {
    const buffer = new LineBuffer(1_000_000);
    buffer.push(line("x".repeat(10_000)));
    const [cut] = buffer.take();
    expect(cut?.text).toBe(`${"x".repeat(8_192)}… [1808 more characters]`);
    expect(cut).toMatchObject({ at: 1, level: "info" });
  });
});

describe("a logger", () => {
  test("writes each level, and shows values as console does", () => {
    const to = keeper();
    const log = loggerOf(to);
    log.debug("a", 1);
    log.info({ b: [1, { c: undefined }] });
    log.warn("%s and %i", "c", 2.5);
    log.error(null, undefined, Symbol("d"), 1n);
    expect(to.kept).toEqual(["debug a 1", "info { b: [ 1, { c: undefined } ] }", "warn c and 2", "error null undefined Symbol(d) 1n"]);
  });

  test("takes the time from whoever knows it", () => {
    const lines: LogLine[] = [];
    loggerOf({ write: (given) => void lines.push(given) }, () => 5).info("x");
    expect(lines[0]?.at).toBe(5);
  });
});

describe("captured output", () => {
  const saved = { console: { ...console }, stdout: process.stdout.write, stderr: process.stderr.write };
  let stray: string[] = [];

  beforeEach(() => {
    stray = [];
    process.stderr.write = ((chunk: string) => {
      stray.push(chunk);
      return true;
    }) as typeof process.stderr.write;
    captureOutput();
  });

  afterEach(() => {
    Object.assign(console, saved.console);
    process.stdout.write = saved.stdout;
    process.stderr.write = saved.stderr;
  });

  test("belongs to whoever printed it, with its level", () => {
    const to = keeper();
    owner.run(to, () => {
      console.debug("a");
      console.log("b %d", 1);
      console.info({ c: 1 });
      console.warn("d");
      console.error(new Error("e").message);
      console.dir([1]);
    });
    expect(to.kept).toEqual(["debug a", "info b 1", "info { c: 1 }", "warn d", "error e", "info [ 1 ]"]);
    expect(stray).toEqual([]);
  });

  test("stays apart when two of them take turns", async () => {
    const [a, b] = [keeper(), keeper()];
    const talk = async (name: string): Promise<void> => {
      for (let i = 0; i < 3; i++) {
        console.log(`${name}${i}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
      setTimeout(() => console.log(`${name} later`), 1);
      await new Promise((resolve) => setTimeout(resolve, 5));
    };
    await Promise.all([owner.run(a, () => talk("a")), owner.run(b, () => talk("b"))]);
    expect([a.kept, b.kept]).toEqual([
      ["info a0", "info a1", "info a2", "info a later"],
      ["info b0", "info b1", "info b2", "info b later"],
    ]);
  });

  test("of the streams is taken as lines, as text or bytes, and the callback is called", async () => {
    const to = keeper();
    let called = 0;
    const done = (): void => {
      called++;
    };
    owner.run(to, () => {
      process.stdout.write("out\n");
      process.stdout.write(Buffer.from("bytes\n"), done);
      process.stderr.write("two\nlines\n", "utf8", done);
    });
    await Promise.resolve();
    expect([to.kept, called]).toEqual([["info out", "info bytes", "error two\nlines"], 2]);
  });

  test("of nobody goes to the real standard error", () => {
    console.log("nobody's");
    process.stdout.write("out");
    expect(stray).toEqual(["nobody's\n", "out\n"]);
  });
});
