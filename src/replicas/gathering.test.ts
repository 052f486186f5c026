import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createStepClock } from "../testing/step-clock.ts";
import { FULL, GATHER_MS, Gathering, MANY_UNDER_WAY } from "./gathering.ts";
import { Timers } from "./timers.ts";

/** A client that notes what it sends at which time. */
const world = () => {
  const clock = createStepClock(0);
  const sent: { calls: number; at: number }[] = [];
  let gathered = 0;
  let open = 0;
  const gathering = new Gathering(
    new Timers(clock),
    () => open,
    () => {
      if (gathered > 0) sent.push({ calls: gathered, at: clock.now() });
      gathered = 0;
    },
  );
  const submit = (calls = 1): void => {
    const isFirst = gathered === 0;
    gathered += calls;
    open += calls;
    gathering.add(calls);
    if (isFirst) gathering.begin();
    gathering.look();
  };
  const certify = (calls: number): void => {
    open -= calls;
    gathering.look();
  };
  /** As many as are gathered may not be certified. */
  const underWay = (): number => open - gathered;
  return { clock, sent, submit, certify, underWay };
};

describe("calls that gather", () => {
  test("leave at the end of the turn in which they come, while few are under way", () => {
    const { clock, sent, submit } = world();
    for (let i = 0; i < MANY_UNDER_WAY; i++) {
      submit();
      clock.turn();
    }
    expect(sent).toEqual(Array.from({ length: MANY_UNDER_WAY }, () => ({ calls: 1, at: 0 })));
  });

  test("wait for others while many are under way, and no longer than a moment", () => {
    const { clock, sent, submit } = world();
    submit(MANY_UNDER_WAY);
    clock.turns();
    submit();
    clock.turns();
    clock.advance(GATHER_MS - 1);
    submit();
    clock.turns();
    expect(sent).toHaveLength(1);
    clock.advance(1);
    expect(sent[1]).toEqual({ calls: 2, at: GATHER_MS });
  });

  test("leave when they fill a request", () => {
    const { clock, sent, submit } = world();
    submit(MANY_UNDER_WAY);
    clock.turns();
    for (let i = 0; i < FULL; i++) submit();
    clock.turns();
    expect(sent[1]).toEqual({ calls: FULL, at: 0 });
  });

  test("leave when few are under way any more", () => {
    const { clock, sent, submit, certify } = world();
    submit(MANY_UNDER_WAY);
    clock.turns();
    submit();
    clock.turns();
    certify(1);
    clock.turns();
    expect(sent[1]).toEqual({ calls: 1, at: 0 });
    // The time that it would have waited is over, too, and nothing is sent twice.
    clock.advance(GATHER_MS);
    expect(sent).toHaveLength(2);
  });

  test("all leave, in time, whatever comes and ends in which order", () => {
    const step = fc.oneof(
      fc.record({ submit: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ certify: fc.integer({ min: 1, max: 300 }) }),
      fc.record({ wait: fc.integer({ min: 0, max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { clock, sent, submit, certify, underWay } = world();
        const submitted: { calls: number; at: number }[] = [];
        for (const each of steps) {
          if ("submit" in each) {
            submitted.push({ calls: each.submit, at: clock.now() });
            submit(each.submit);
          } else if ("certify" in each) certify(Math.min(each.certify, underWay()));
          else clock.advance(each.wait);
          clock.turns();
        }
        clock.advance(GATHER_MS);
        let left = sent.flatMap(({ calls, at }) => Array.from({ length: calls }, () => at));
        for (const { calls, at } of submitted) {
          for (const sentAt of left.slice(0, calls)) expect(sentAt - at).toBeLessThanOrEqual(GATHER_MS);
          expect(left.length).toBeGreaterThanOrEqual(calls);
          left = left.slice(calls);
        }
        expect(left).toEqual([]);
      }),
    );
  });
});
