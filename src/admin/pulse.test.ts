import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { filePulse } from "./pulse.ts";

const fileIn = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "lockstep-pulse-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return join(folder, "pulse");
};

test("the first life of all has none before it", () => {
  const pulse = filePulse(fileIn());
  expect(pulse.last).toBeUndefined();
  pulse.close();
});

test("a life learns when the one before it beat last, to the millisecond, whether that closed it or not", () => {
  const path = fileIn();
  const first = filePulse(path);
  first.beat(1_700_000_000_123);
  first.beat(1_700_000_001_456);
  const second = filePulse(path);
  expect([first.last, second.last]).toEqual([undefined, 1_700_000_001_456]);
  first.close();
  second.beat(1_700_000_002_789);
  second.close();
  const third = filePulse(path);
  expect(third.last).toBe(1_700_000_002_789);
  third.close();
});
