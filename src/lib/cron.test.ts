import { expect, test } from "vitest";
import { cronProblem } from "./cron.ts";

test.each([
  "* * * * *",
  "*/5 * * * *",
  "0 0 1 1 *",
  "0,30 9-17 * * MON-FRI",
  "15 10 L * *",
  "0 12 * * FRI#2",
  "0 12 * * 5L",
  "*/10 0-30/5 * 31 dec 7",
  "  0   0 * * *  ",
])("%s is a cron expression", (text) => {
  expect(cronProblem(text)).toBeUndefined();
});

test.each([
  ["", "has 0 fields: give five"],
  ["* * * *", "has 4 fields"],
  ["* * * * * * *", "has 7 fields"],
  ["60 * * * *", 'has "60" as its minute'],
  ["* 24 * * *", 'has "24" as its hour'],
  ["* * 0 * *", 'has "0" as its day of the month'],
  ["* * * 13 *", 'has "13" as its month'],
  ["* * * * 8", 'has "8" as its day of the week'],
  ["* * * * FRY", 'has "FRY" as its day of the week'],
  ["30-10 * * * *", 'has "30-10" as its minute'],
  ["1-2-3 * * * *", 'has "1-2-3" as its minute'],
  ["*/0 * * * *", 'has "*/0" as its minute'],
  ["*/61 * * * *", 'has "*/61" as its minute'],
  ["5/5 * * * *", 'has "5/5" as its minute'],
  ["1,,2 * * * *", 'has "" as its minute'],
  ["1.5 * * * *", 'has "1.5" as its minute'],
  ["@daily", "has 1 fields"],
  [`${"1,".repeat(200)}1 * * * *`, "longer than 200"],
])("%j: %s", (text, problem) => {
  expect(cronProblem(text)).toContain(problem);
});
