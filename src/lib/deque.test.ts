import fc from "fast-check";
import { expect, test } from "vitest";
import { Deque } from "./deque.ts";

test("values leave in the order they came, across any mix of pushes and takes", () => {
  // Bursts are what makes the ring grow while its head is somewhere in the middle.
  const burst = fc.record({ push: fc.nat({ max: 40 }), take: fc.nat({ max: 40 }) });
  fc.assert(
    fc.property(fc.array(burst), (bursts) => {
      const deque = new Deque<number>();
      const model: number[] = [];
      let next = 0;
      for (const { push, take } of bursts) {
        for (let i = 0; i < push; i++) {
          model.push(next);
          deque.push(next++);
        }
        expect([deque.size, deque.first]).toEqual([model.length, model[0]]);
        for (let i = 0; i < take; i++) expect(deque.shift()).toBe(model.shift());
        expect([deque.size, deque.first]).toEqual([model.length, model[0]]);
      }
      while (model.length > 0) expect(deque.shift()).toBe(model.shift());
      expect(deque.shift()).toBeUndefined();
    }),
  );
});
