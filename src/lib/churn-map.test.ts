import fc from "fast-check";
import { expect, test } from "vitest";
import { ChurnMap } from "./churn-map.ts";

test("it holds what a Map would, in the same order", () => {
  const key = fc.integer({ min: 0, max: 12 });
  const step = fc.oneof(
    fc.record({ op: fc.constant("set" as const), key, value: fc.option(fc.integer(), { nil: undefined }) }),
    fc.record({ op: fc.constant("delete" as const), key }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 600, size: "max" }), (steps) => {
      const map = new Map<number, number | undefined>();
      const churn = new ChurnMap<number, number | undefined>();
      for (const step of steps) {
        if (step.op === "delete") expect(churn.delete(step.key)).toBe(map.delete(step.key));
        else {
          churn.set(step.key, step.value);
          map.set(step.key, step.value);
        }
        expect([churn.size, churn.get(step.key), churn.has(step.key)]).toEqual([map.size, map.get(step.key), map.has(step.key)]);
      }
      expect([...churn]).toEqual([...map]);
      expect([...churn.values()]).toEqual([...map.values()]);
    }),
  );
});

test("who goes through it sees nothing that is gone, and each value as it is, also when entries are moved meanwhile", () => {
  const churn = new ChurnMap<number, string>();
  for (let i = 0; i < 10; i++) churn.set(i, "first");
  const seen: [number, string][] = [];
  for (const [key, value] of churn) {
    seen.push([key, value]);
    if (key !== 2) continue;
    churn.delete(5);
    for (let i = 0; i < 1_000; i++) churn.set(7, `write ${i}`);
    churn.delete(6);
  }
  expect(seen.map(([key]) => key)).toEqual([0, 1, 2, 3, 4, 7, 8, 9]);
  expect(seen.find(([key]) => key === 7)).toEqual([7, "write 999"]);
});
