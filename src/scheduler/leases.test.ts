import { expect, test } from "vitest";
import type { Entry } from "../queue/machine.ts";
import type { LayerHost } from "./layer-host.ts";
import { Leases } from "./leases.ts";
import { newPod } from "./pod.ts";

const HOST = {} as LayerHost;
const [A, B] = [newPod("a", 256, 0), newPod("b", 256, 0)];

const setUp = () => {
  const leases = new Leases();
  /** An attempt that begins at `now`. */
  const begin = (now: number, timeoutMs: number, pod = A): number => {
    const lease = leases.next();
    const held = { entry: { seq: lease, timeoutMs, leasedAt: now } as Entry, host: HOST, pod, cold: false };
    leases.begin(lease, held);
    leases.watch(lease, held);
    return lease;
  };
  /** Which leases are given up at `now`, and when it is looked again. */
  const sweep = (now: number, isSpared = false): [number[], number] => {
    const overdue: number[] = [];
    const next = leases.sweep(now, isSpared, (lease) => {
      overdue.push(lease);
      leases.end(lease);
    });
    return [overdue, next];
  };
  return { leases, begin, sweep };
};

test("a lease ends once", () => {
  const { leases, begin } = setUp();
  const lease = begin(0, 100);
  expect(leases.end(lease)).toMatchObject({ pod: A });
  expect([leases.end(lease), leases.get(lease), leases.size]).toEqual([undefined, undefined, 0]);
});

test("no number is given twice", () => {
  const { leases, begin } = setUp();
  const first = begin(0, 100);
  leases.end(first);
  expect(begin(0, 100)).not.toBe(first);
});

test("those are overdue whose timeout is over, and the next look is at the earliest of the others", () => {
  const { begin, sweep } = setUp();
  const [long, short, later] = [begin(0, 1_000), begin(10, 100), begin(20, 100)];
  expect(sweep(109)).toEqual([[], 110]);
  expect(sweep(110)).toEqual([[short], 120]);
  expect(sweep(120)).toEqual([[later], 1_000]);
  expect(sweep(1_000)).toEqual([[long], Number.POSITIVE_INFINITY]);
});

test("one that has ended is never overdue", () => {
  const { leases, begin, sweep } = setUp();
  leases.end(begin(0, 100));
  expect(sweep(500)).toEqual([[], Number.POSITIVE_INFINITY]);
});

test("none is given up when all are spared, and all that are overdue are at the next look", () => {
  const { begin, sweep } = setUp();
  const lease = begin(0, 100);
  expect(sweep(500, true)).toEqual([[], 100]);
  expect(sweep(500)).toEqual([[lease], Number.POSITIVE_INFINITY]);
});

test("one that nobody watches is never overdue", () => {
  const { leases, sweep } = setUp();
  const lease = leases.next();
  leases.begin(lease, { entry: { timeoutMs: 1, leasedAt: 0 } as Entry, host: HOST, pod: A, cold: false });
  expect([sweep(500), leases.size]).toEqual([[[], Number.POSITIVE_INFINITY], 1]);
});

test("a pod's leases may end while they are gone through", () => {
  const { leases, begin } = setUp();
  const own = Array.from({ length: 100 }, (_, i) => begin(0, 100, i % 2 === 0 ? A : B)).filter((_, i) => i % 2 === 0);
  const ended: number[] = [];
  for (const [lease] of leases.of(A)) {
    leases.end(lease);
    ended.push(lease);
  }
  expect([ended, leases.size]).toEqual([own, 50]);
});
