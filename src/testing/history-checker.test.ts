import fc from "fast-check";
import { expect, test } from "vitest";
import { explain, type Operation, type StoreTransaction, storeModel } from "./history-checker.ts";

type Op = Operation<string, StoreTransaction>;

const op = (begin: number, end: number, parts: Partial<StoreTransaction>): Op => ({
  caller: "a",
  input: "",
  output: { reads: [], writes: [], ...parts },
  begin,
  end,
});

const put = (begin: number, end: number, value: string) => op(begin, end, { writes: [["k", value]] });
const get = (begin: number, end: number, value: string | undefined) => op(begin, end, { reads: [["k", value]] });

test("a read sees what was written last before it began, or what was written while it went on", () => {
  const writes = [put(0, 1, "1"), put(4, 8, "2")];
  expect(explain([...writes, get(2, 3, "1")], storeModel).ok).toBe(true);
  expect(explain([...writes, get(5, 6, "1")], storeModel).ok).toBe(true);
  expect(explain([...writes, get(5, 6, "2")], storeModel).ok).toBe(true);
  expect(explain([...writes, get(9, 10, "2")], storeModel).ok).toBe(true);
  expect(explain([...writes, get(9, 10, "1")], storeModel).ok).toBe(false);
  expect(explain([...writes, get(2, 3, undefined)], storeModel).ok).toBe(false);
  expect(explain([...writes, get(5, 6, "2"), get(6.5, 7, "1")], storeModel).ok).toBe(false);
});

test("an update that was lost is found", () => {
  const increment = (begin: number, end: number, from: string | undefined, to: string) =>
    op(begin, end, { reads: [["n", from]], writes: [["n", to]] });
  const verdict = explain([increment(0, 9, undefined, "1"), increment(1, 8, undefined, "1")], storeModel);
  expect(verdict).toMatchObject({ ok: false, order: [{ begin: 1 }], stuck: [{ begin: 0 }], state: '[["n","1"]]' });
  expect(explain([increment(0, 9, undefined, "1"), increment(1, 8, "1", "2")], storeModel).ok).toBe(true);
});

test("a write skew and a phantom are found", () => {
  const skew = [
    op(0, 9, { reads: [["a", undefined]], writes: [["b", "1"]] }),
    op(0, 9, { reads: [["b", undefined]], writes: [["a", "1"]] }),
  ];
  expect(explain(skew, storeModel).ok).toBe(false);
  const phantom = [op(0, 9, { lists: [["t/", []]], writes: [["t/1", "x"]] }), op(0, 9, { lists: [["t/", []]], writes: [["t/2", "x"]] })];
  expect(explain(phantom, storeModel).ok).toBe(false);
});

/** A history that is right: transactions on a real map, each at a moment of its own, with times around it. */
const rightHistory = fc
  .array(
    fc.record({
      keys: fc.uniqueArray(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 2 }),
      writes: fc.boolean(),
      before: fc.nat({ max: 30 }),
      after: fc.nat({ max: 30 }),
    }),
    { maxLength: 40 },
  )
  .map((steps) => {
    const store = new Map<string, string>();
    return steps.map(({ keys, writes, before, after }, i): Op => {
      const reads = keys.map((key) => [key, store.get(key)] as const);
      const written = writes ? keys.map((key) => [key, String(i)] as const) : [];
      for (const [key, value] of written) store.set(key, value);
      return op(i * 10 - before, i * 10 + after, { reads, writes: written });
    });
  });

test("every history of a store that does one thing after the other is explained, in an order that its times allow", () => {
  fc.assert(
    fc.property(rightHistory, fc.infiniteStream(fc.nat()), (history, numbers) => {
      const shuffled = history.map((one) => ({ one, rank: numbers.next().value as number })).sort((a, b) => a.rank - b.rank);
      const verdict = explain(
        shuffled.map(({ one }) => one),
        storeModel,
      );
      expect(verdict.ok).toBe(true);
      for (const [i, one] of verdict.order.entries()) {
        for (const later of verdict.order.slice(i + 1)) expect(later.end < one.begin).toBe(false);
      }
    }),
  );
});

test("what nobody has seen the answer of may have been done, at any time since it began, or never", () => {
  const maybe = (begin: number, value: string): Op => ({ ...put(begin, begin, value), maybe: true });
  const history = [put(0, 1, "1"), maybe(4, "2")];
  expect(explain([...history, get(2, 3, "1")], storeModel).ok).toBe(true);
  expect(explain([...history, get(2, 3, "2")], storeModel).ok).toBe(false);
  expect(explain([...history, get(8, 9, "1")], storeModel).ok).toBe(true);
  expect(explain([...history, get(8, 9, "2")], storeModel).ok).toBe(true);
  expect(explain([...history, get(6, 7, "1"), get(8, 9, "2")], storeModel).ok).toBe(true);
  expect(explain([...history, get(6, 7, "2"), get(8, 9, "1")], storeModel).ok).toBe(false);
  expect(explain([...history, get(6, 7, "2"), put(8, 9, "3"), get(10, 11, "2")], storeModel).ok).toBe(false);
});

test("a history that too many orders might explain is not decided", () => {
  const history = Array.from({ length: 12 }, (_, i) => op(0, 99, { writes: [[`k${i}`, "1"]] }));
  const wrong = [...history, op(100, 101, { reads: [["k0", undefined]] })];
  expect(explain(wrong, storeModel, 1_000)).toBeUndefined();
  expect(explain(wrong, storeModel).ok).toBe(false);
});

test("what a naive search finds in all orders, this one finds", () => {
  const orders = <T>(items: readonly T[]): T[][] =>
    items.length === 0
      ? [[]]
      : items.flatMap((item, i) => orders([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]));
  const isRight = (order: readonly Op[]): boolean => {
    let state: ReadonlyMap<string, string> | undefined = storeModel.initial;
    for (const [i, one] of order.entries()) {
      if (order.slice(i + 1).some((later) => later.end < one.begin)) return false;
      state = storeModel.apply(state, "", one.output);
      if (state === undefined) return false;
    }
    return true;
  };
  const withAndWithout = ([one, ...others]: readonly Op[]): Op[][] => {
    if (one === undefined) return [[]];
    const rest = withAndWithout(others);
    return [...rest.map((some) => [one, ...some]), ...(one.maybe === true ? rest : [])];
  };
  const value = fc.constantFrom("1", "2", undefined);
  const any = fc
    .record({
      begin: fc.nat({ max: 6 }),
      length: fc.nat({ max: 4 }),
      maybe: fc.boolean(),
      read: fc.option(value, { nil: null }),
      write: fc.option(value, { nil: null }),
    })
    .map(({ begin, length, maybe, read, write }): Op => {
      const parts = {
        reads: read === null ? [] : [["k", read]],
        writes: write === null ? [] : [["k", write]],
      } as Partial<StoreTransaction>;
      return maybe ? { ...op(begin, Number.POSITIVE_INFINITY, parts), maybe } : op(begin, begin + length, parts);
    });
  fc.assert(
    fc.property(fc.array(any, { maxLength: 5 }), (history) => {
      const histories = withAndWithout(history);
      expect(explain(history, storeModel).ok).toBe(histories.some((some) => orders(some).some(isRight)));
    }),
    { numRuns: 1_000 },
  );
});

test("a long history is explained in linear time", () => {
  let value = 0;
  const history = Array.from({ length: 5_000 }, (_, i) => {
    const from = value === 0 ? undefined : String(value);
    value++;
    return op(i - (i % 8), i + 8, { reads: [["n", from]], writes: [["n", String(value)]] });
  });
  expect(explain(history, storeModel).ok).toBe(true);
});
