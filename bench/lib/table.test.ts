import { expect, test } from "vitest";
import { interleave, median, spread } from "./repeat.ts";
import { summarize } from "./summary.ts";
import { figure, figureWithSpread, markdownTable, ratio } from "./table.ts";

test("contenders take turns, and one that fails costs the others nothing", async () => {
  const order: string[] = [];
  const contestant = (name: string, failsAt = Number.POSITIVE_INFINITY) => {
    let turn = 0;
    const measure = async (): Promise<number> => {
      order.push(name);
      if (++turn === failsAt) throw new Error(`${name} broke`);
      return turn;
    };
    return { name, measure };
  };
  const outcomes = await interleave([contestant("a"), contestant("b", 2), contestant("c")], 3);
  expect(order.join("")).toBe("abcabcac");
  expect(outcomes.get("a")).toEqual({ results: [1, 2, 3] });
  expect(outcomes.get("b")).toEqual({ results: [1], failure: "b broke" });
});

test("the median of an even number of values is the mean of the middle two", () => {
  expect(median([9, 1, 5])).toBe(5);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([])).toBeNaN();
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
});

test("percentiles are of the sorted latencies, and the rate is of the elapsed time", () => {
  const latencies = Array.from({ length: 100 }, (_, i) => 100 - i);
  expect(summarize(latencies, 2_000)).toEqual({
    perSecond: 50,
    p50Ms: 51,
    p90Ms: 91,
    p99Ms: 100,
    maxMs: 100,
    count: 100,
    elapsedMs: 2_000,
  });
});

test("figures are short, with their spread when there is one", () => {
  expect([12_345.6, 100.4, 12.34, 0.1234, Number.NaN].map(figure)).toEqual(["12,346", "100", "12.3", "0.12", "–"]);
  expect(figureWithSpread({ median: 1_240, min: 1_190, max: 1_305 })).toBe("1,240 (1,190–1,305)");
  expect(figureWithSpread({ median: 5, min: 5, max: 5 })).toBe("5");
  expect(ratio(10, 4)).toBe("2.5×");
  expect(ratio(10, Number.NaN)).toBe("–");
});

test("a table is aligned, with figures to the right", () => {
  expect(
    markdownTable(
      ["name", "per second"],
      [
        ["a|b", "1,200"],
        ["c", "7"],
      ],
    ),
  ).toBe(["| name | per second |", "| ---- | ---------: |", "| a\\|b |      1,200 |", "| c    |          7 |"].join("\n"));
});
