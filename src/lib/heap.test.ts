import fc from "fast-check";
import { expect, test } from "vitest";
import { Heap } from "./heap.ts";

test("an empty heap has no first and gives nothing", () => {
  const heap = new Heap<string>();
  expect([heap.size, heap.first, heap.firstKey, heap.pop()]).toEqual([0, undefined, undefined, undefined]);
});

test("values leave in the order of their keys, equal keys in the order they came, however pushes and pops mix", () => {
  const push = fc.integer({ min: -5, max: 5 }).map((key) => ({ key }));
  fc.assert(
    fc.property(fc.array(fc.oneof({ weight: 2, arbitrary: push }, { weight: 1, arbitrary: fc.constant("pop" as const) })), (steps) => {
      const heap = new Heap<number>();
      let model: { key: number; value: number }[] = [];
      steps.forEach((step, value) => {
        if (step === "pop") {
          expect(heap.pop()).toBe(model.shift()?.value);
        } else {
          heap.push(step.key, value);
          // The sort of arrays is stable, so equal keys stay in the order of their pushes.
          model = [...model, { key: step.key, value }].sort((a, b) => a.key - b.key);
        }
        expect([heap.size, heap.firstKey, heap.first]).toEqual([model.length, model[0]?.key, model[0]?.value]);
      });
      while (model.length > 0) expect(heap.pop()).toBe(model.shift()?.value);
      expect(heap.size).toBe(0);
    }),
  );
});
