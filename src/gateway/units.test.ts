import { expect, test } from "vitest";
import { durationMs, timeMs } from "./units.ts";

test.each([
  ["30s", 30_000],
  ["500ms", 500],
  ["2m", 120_000],
  ["1h", 3_600_000],
  ["45", 45_000],
  ["0.25", 250],
  ["1.5m", 90_000],
  ["0", 0],
])("the duration %s is %i ms", (text, ms) => {
  expect(durationMs(text)).toBe(ms);
});

test.each(["", "s", "-1s", "1 s", "1d", "1e3", "1.s", "1.2345s", "1234567890", "30S", "NaN"])("%j is no duration", (text) => {
  expect(durationMs(text)).toBeUndefined();
});

test.each([
  ["1700000000000", 1_700_000_000_000],
  ["2026", 2026],
  ["2026-01-31", Date.UTC(2026, 0, 31)],
  ["2026-01-31T12:30Z", Date.UTC(2026, 0, 31, 12, 30)],
  ["2026-01-31T12:30:15.5+02:00", Date.UTC(2026, 0, 31, 10, 30, 15, 500)],
])("the time %s is %i", (text, ms) => {
  expect(timeMs(text)).toBe(ms);
});

test.each(["", "yesterday", "2026-01-31T12:30", "2026-13-01", "2026-01-31T25:00Z", "-5", "31 Jan 2026"])("%j is no time", (text) => {
  expect(timeMs(text)).toBeUndefined();
});
