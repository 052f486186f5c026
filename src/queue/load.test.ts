import fc from "fast-check";
import { expect, test } from "vitest";
import { Load } from "./load.ts";

test("sums of what ended, and integrals of what is there", () => {
  const load = new Load();
  load.arrive(1_000);
  load.arrive(1_000);
  load.begin(1_010);
  expect([load.inFlightMs(1_020), load.busyMs(1_020)]).toEqual([40, 10]);
  load.end(1_000, 1_010, 1_030);
  expect([load.arrived, load.ended, load.responseMs, load.serviceMs]).toEqual([2, 1, 30, 20]);
  expect([load.inFlightMs(1_040), load.busyMs(1_040)]).toEqual([70, 20]);
  load.withdraw(1_000, undefined);
  expect([load.inFlightMs(1_050), load.busyMs(1_050)]).toEqual([30, 20]);
});

test("nothing has happened: nothing is measured", () => {
  expect([new Load().inFlightMs(5), new Load().busyMs(5)]).toEqual([0, 0]);
});

test("integrals are what adding up each call's time gives", () => {
  const call = fc.record({ at: fc.nat(1_000), waits: fc.nat(1_000), takes: fc.nat(1_000) });
  fc.assert(
    fc.property(fc.array(call, { maxLength: 30 }), fc.nat(4_000), (calls, now) => {
      const load = new Load();
      const events = calls.flatMap(({ at, waits, takes }) => [
        { at, step: () => load.arrive(at) },
        { at: at + waits, step: () => load.begin(at + waits) },
        { at: at + waits + takes, step: () => load.end(at, at + waits, at + waits + takes) },
      ]);
      events.sort((a, b) => a.at - b.at);
      for (const { at, step } of events) if (at <= now) step();
      const within = (from: number, to: number): number => Math.max(0, Math.min(to, now) - from);
      const inFlight = calls.reduce((sum, { at, waits, takes }) => sum + within(at, at + waits + takes), 0);
      const busy = calls.reduce((sum, { at, waits, takes }) => sum + within(at + waits, at + waits + takes), 0);
      expect([load.inFlightMs(now), load.busyMs(now)]).toEqual([inFlight, busy]);
    }),
    { numRuns: 50 },
  );
});
