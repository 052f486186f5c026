import { describe, expect, test } from "vitest";
import type { LogLine } from "../protocol/run.ts";
import { type CallLog, CallLogs, newLog } from "./call-logs.ts";

const line = (text: string): LogLine => ({ at: 0, level: "info", text });

describe("the logs of calls that are under way", () => {
  test("are those of the replica that tells first", () => {
    const logs = new CallLogs(1_000);
    const log = newLog();
    logs.take(log, 2, [line("two")]);
    logs.take(log, 1, [line("one")]);
    logs.take(log, 2, [line("two again")]);
    expect(logs.end(log).map(({ text }) => text)).toEqual(["two", "two again"]);
  });

  test("have no more lines than one operation may log, however short they are", () => {
    const logs = new CallLogs(65_536);
    const log = newLog();
    for (let i = 0; i < 100; i++)
      logs.take(
        log,
        0,
        Array.from({ length: 1_000 }, () => line("")),
      );
    expect(log.lines).toHaveLength(10_000);
  });

  test("take of one replica no more than its share for all calls, and then another one's", () => {
    const logs = new CallLogs(1_000, 50_000);
    const all: CallLog[] = Array.from({ length: 100 }, newLog);
    for (const log of all) logs.take(log, 3, [line("x".repeat(900))]);
    expect(logs.of(3)).toBeLessThanOrEqual(50_000);
    expect(all[0]!.from).toBe(3);
    logs.take(all[99]!, 0, [line("true")]);
    expect(all[99]!.from).toBe(0);
    for (const log of all) logs.end(log);
    expect([logs.of(0), logs.of(3)]).toEqual([0, 0]);
  });
});
